"""Rows whose label a linear model, fitted on the others, finds most improbable: for a look, never changed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from smallworks import child, files
from smallworks.data import Splits
from smallworks.data.report import shorten
from smallworks.data.source import name_in
from smallworks.errors import UserError
from smallworks.seams import Progress, silent
from smallworks.types import Task


@dataclass(frozen=True, kw_only=True)
class Suspect:
    """A row of a file, the label it has, and one that is likelier, with the probability of each (0–1)."""

    file: str
    row: int
    text: str
    given: str
    likely: str
    p_given: float
    p_likely: float


def find(task: Task, splits: Splits, progress: Progress = silent) -> tuple[Suspect, ...]:
    """Of every part, test rows too: a wrong label there counts as a wrong answer. The most doubtful first.

    Raises UserError for a task without labels, MissingExtra without scikit-learn.
    """
    if task.kind != "classify":
        raise UserError(
            f"--suspects looks at labels, and '{task.name}' is of kind '{task.kind}'.", fix="Leave it out."
        )
    rows = [
        (name_in(task, path or task.data.train), example)
        for path, part in (
            (task.data.train, splits.train),
            (task.data.validation, splits.validation),
            (task.data.test, splits.test),
        )
        for example in part
    ]
    with TemporaryDirectory(prefix="smallworks-") as scratch:
        listed = Path(scratch) / "rows.jsonl"
        files.write_jsonl(listed, ([example.text, example.output] for _, example in rows))
        labels = sorted({example.output for _, example in rows})
        request = {"rows": listed, "labels": labels, "seed": task.build.seed}
        found = child.run("smallworks.tune.suspects", request, progress=progress)["suspects"]
    return tuple(
        Suspect(
            file=rows[one["at"]][0],
            row=rows[one["at"]][1].row,
            text=shorten(rows[one["at"]][1].text),
            **{name: one[name] for name in ("given", "likely", "p_given", "p_likely")},
        )
        for one in found
    )
