"""Start a task: write a commented task file and an empty data folder for a kind.

Knows what a task file may hold, nothing of rows or builds.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from smallworks.errors import UserError, nearest
from smallworks.files import write_text
from smallworks.taskfile import FILE_NAME, METRICS
from smallworks.types import KINDS, REFUSAL, Kind

SCHEMA: Mapping[str, object] = {
    "type": "object",
    "properties": {"product": {"type": "string"}, "quantity": {"type": "integer"}},
    "required": ["product", "quantity"],
    "additionalProperties": False,
}


@dataclass(frozen=True, kw_only=True)
class Start:
    """What a kind's first task file says, and how one of its rows looks."""

    instruction: str
    row: Mapping[str, object]
    at_least: float
    special: str = ""


STARTS: Mapping[Kind, Start] = {
    "classify": Start(
        instruction="Name the kind of the support ticket.",
        row={"text": "The export button does nothing.", "label": "bug"},
        at_least=0.90,
        special='# labels = ["bug", "feature", "question"]  # taken from the data when left out\n',
    ),
    "extract": Start(
        instruction="Read the order and write its product and quantity.",
        row={"text": "Two boxes of tea, please.", "output": {"product": "tea", "quantity": 2}},
        at_least=0.85,
        special='schema = "schema.json"  # the JSON schema of every output\n',
    ),
    "answer": Start(
        instruction="Answer the question in a few words.",
        row={"context": "We open at nine.", "question": "When do you open?", "answer": "at nine"},
        at_least=0.70,
        special=f'# refusal = "{REFUSAL}"  # expected where the context has no answer\n',
    ),
    "summarize": Start(
        instruction="Summarize the ticket in one sentence.",
        row={"text": "I opened the app and …", "summary": "The app crashes on start."},
        at_least=0.30,
    ),
    "generate": Start(
        instruction="Write a friendly answer to the customer.",
        row={"input": "Where is my parcel?", "output": "It left our house today."},
        at_least=0.40,
    ),
}

TEMPLATE = """\
# A task of Smallworks. Lines that begin with '#' are optional keys, shown with their defaults or an example.
# When the rows are in place, run `smallworks build` on this folder.

[task]
name = "{name}"
kind = "{kind}"  # {kinds}
instruction = "{instruction}"
{special}
[data]  # .jsonl, .json, .csv, .tsv or .parquet; paths are relative to this file
train = "data/train.jsonl"
# validation = "data/validation.jsonl"  # a tenth of train when left out
# test = "data/test.jsonl"  # a fifth of train when left out
# synthetic = "data/synthetic.jsonl"  # rows of a teacher, only ever trained on; see `smallworks data synth`
# input = {input}  # a column, or several: ["title", "body"]; found by itself when left out
# output = "{output}"  # likewise
# id = "id"  # made of the row's content when left out
# tags = "tags"
# group = "customer"  # rows of one customer stay in one part, and count together
{own}
[targets]
metric = "{metric}"  # {metrics}
at_least = {at_least:.2f}  # a share from 0 to 1; without it, the best candidate is chosen
# p95_ms = 50  # slowest acceptable answer, milliseconds at the 95th percentile
# memory_mb = 1000
# cost_per_1000 = 0.05  # US dollars for 1,000 requests
{loss}
# [flagship]  # the large model that this task graduates from; prices in US dollars per million tokens
# name = "the-large-model"
# input_price = 2.50
# output_price = 10.00
# url = "https://host/v1"  # an OpenAI-shaped server, asked for the test rows
# key_env = "FLAGSHIP_KEY"  # the name of the variable that holds its key
# answers = "answers.jsonl"  # or its recorded answers, so that nobody is asked

# [build]
# base = "path, GGUF or hub id of a small language model"  # the built-in starter when left out
# embedder = "path or hub id of a sentence-embedding model"
# reranker = "path or hub id of a cross-encoder"  # tried on the passages of a task with documents
# seed = 0
# epochs = 10  # most passes over the training rows; 3 to 10 by their number when left out
# machine_price_per_hour = 0.10
"""

OUTSIDE = (
    '# out_of_scope = "none"  # what rows have that belong to no label: they are handed over, not learnt\n'
)
DOCUMENTS = """\
# documents = "articles"  # a folder that the answers are found in, where rows carry no context
# document = "article"  # the column with the document that answers: its path below `documents`
"""
LOSS = "# in_scope_loss = 0.05  # the share of the rows in scope that may be handed over with them\n"
"""Keys that one kind alone has."""

DATA_README = """\
# Rows

Put `train.jsonl` here, one row a line:

```json
{row}
```

CSV, TSV, JSON and Parquet files with such columns work too: name the file in `../task.toml`.
Without `test.jsonl`, a fifth of the rows is set aside to measure on.
"""


def init(folder: Path, kind: Kind, force: bool = False) -> Path:
    """Write task.toml, data/README.md (and schema.json for extract) into a folder; return the task file.

    `force` replaces the task file only.

    Raises UserError when a task file is there already, and for an unknown kind.
    """
    if kind not in STARTS:
        raise UserError(f"The kind '{kind}' is unknown.", fix=nearest(kind, KINDS))
    if folder.exists() and not folder.is_dir():
        raise UserError(f"'{folder}' is a file, not a folder.", fix="Name a folder for the task.")
    path = folder / FILE_NAME
    if path.exists() and not force:
        raise UserError(f"'{path}' exists already.", fix="Name another folder, or add --force to replace it.")
    start = STARTS[kind]
    row = json.dumps(start.row, ensure_ascii=False)
    _write_if_absent(folder / "data" / "README.md", DATA_README.format(row=row))
    if kind == "extract":
        _write_if_absent(folder / "schema.json", json.dumps(SCHEMA, indent=2) + "\n")
    write_text(path, _task_file(folder, kind, start))
    return path


def _write_if_absent(path: Path, text: str) -> None:
    if not path.exists():
        write_text(path, text)


def _task_file(folder: Path, kind: Kind, start: Start) -> str:
    *inputs, output = start.row
    return TEMPLATE.format(
        name=_name(folder),
        kind=kind,
        kinds=", ".join(KINDS),
        instruction=start.instruction,
        special=start.special,
        input=json.dumps(inputs if len(inputs) > 1 else inputs[0]),
        output=output,
        metric=METRICS[kind][0],
        metrics=", ".join(METRICS[kind]),
        at_least=start.at_least,
        own={"classify": OUTSIDE, "answer": DOCUMENTS}.get(kind, ""),
        loss=LOSS if kind == "classify" else "",
    )


def _name(folder: Path) -> str:
    """The folder's name, without what TOML or a file name would trip over."""
    plain = "".join(c if c.isalnum() or c in "-_" else "-" for c in folder.absolute().name)
    return plain.strip("-") or "task"
