"""Training rows as the model reads them, for forms that are fitted on what goes through it.

Never test rows: a form fitted on those would be measured on what it was fitted to.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from smallworks import data, files, taskfile
from smallworks.bundle import Bundle
from smallworks.engines.opening import TOKENIZER
from smallworks.engines.shots import POOL, read_pool
from smallworks.errors import UserError
from smallworks.prompt import Renderer, template, tokenizer

ROWS = 64
"""128 whole prompts took GPTQ of the starter some four minutes of CPU; rows of one task are much alike."""
LONGEST = 1024
"""Tokens of a row that are read."""
SHOTS = 4


def samples(bundle: Bundle, task: Path | None) -> list[list[int]]:
    """Up to ROWS training rows of the task, prompt and answer, as token ids; the same for the same rows.

    `task` is a task folder or file; the task two folders above the bundle where it is None or a data file.
    Raises UserError where there is no task with training rows.
    """
    home = bundle.path.resolve().parent.parent
    where = task if task and (task.is_dir() or task.suffix == ".toml") else home
    if not where.suffix == ".toml" and not (where / taskfile.FILE_NAME).is_file():
        raise UserError(
            f"gptq, awq and w8a8 are fitted on training rows, and '{where}' holds no {taskfile.FILE_NAME}.",
            fix="Name the task that the bundle was made for: --task FOLDER",
        )
    train = data.load(taskfile.load_task(where)).train
    chosen = sorted(train, key=lambda e: files.hash_value([e.text, e.output]))[:ROWS]
    folder, spec = bundle.file(TOKENIZER), bundle.manifest.prompt
    renderer = Renderer(spec, template.Template.load(folder), tokenizer.load(folder))
    pool = read_pool(bundle.path) if POOL in bundle.manifest.files else None
    rows = []
    for example in chosen:
        shots = pool.nearest(example.text, SHOTS) if pool else spec.shots
        row = renderer.with_spec(replace(spec, shots=shots)).training(example.text, example.output)
        rows.append(list(row.ids[:LONGEST]))
    return rows
