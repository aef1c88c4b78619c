"""Rows that a teacher wrote or labelled: read for training alone, and never what the held-out parts have.

Knows nothing of how they came about.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from smallworks.data import checks, classes, scope
from smallworks.data.checks import numbers
from smallworks.data.marks import same
from smallworks.data.read import read_rows
from smallworks.data.report import Notice, count_rows, name_rows
from smallworks.data.shapes import Problem, at_hand, detect, reader, with_ids
from smallworks.data.source import name_in, names_of
from smallworks.data.split import Part
from smallworks.errors import DataError
from smallworks.types import Example, Task


def read_synthetic(
    task: Task, path: Path, parts: Mapping[Part, Sequence[Example]], labels: Sequence[str]
) -> tuple[tuple[Example, ...], list[Notice]]:
    """The rows that may be trained on beside those of the task, and what was seen in the others.

    Rows whose text or group the test or validation part has, that repeat a training row, or that are marked
    as out of scope are left out.
    """
    file = name_in(task, path)
    names = names_of(path)
    shape = detect(names, at_hand(task.data.columns, names), file)
    read = reader(shape, task)
    parsed = [read(number, cells) for number, cells in read_rows(path)]
    notices = checks.unusable([row for row in parsed if isinstance(row, Problem)], file)
    rows: Sequence[Example] = tuple(with_ids(row for row in parsed if isinstance(row, Example)))
    wanted = set(parts["train"][0].inputs) if parts["train"] else set()
    if rows and set(rows[0].inputs) != wanted:
        raise DataError(
            f"'{file}' has the inputs {', '.join(rows[0].inputs)}, not {', '.join(sorted(wanted))}.",
            fix="Give it the columns of the training file, or name them: [data] input.",
        )
    rows, found = _in_scope(task, rows, file)
    notices += found
    if task.schema is not None:
        notices += checks.schema_violations(rows, task.schema, file)
    if labels:
        notices += classes.unlisted_labels(rows, labels, file)
    for part in ("test", "validation"):
        rows, found = checks.leaks(rows, parts[part], file=file, other=f"the {part} part")
        notices += found
        rows, found = _of_others(rows, parts[part], task.data.columns.group, file, part)
        notices += found
    rows, found = checks.duplicates(rows, file, remove=True)
    rows, repeated = _unlike(rows, parts["train"], file)
    return tuple(rows), [*notices, *found, *repeated]


def _in_scope(task: Task, rows: Sequence[Example], file: str) -> tuple[Sequence[Example], list[Notice]]:
    """The rows that may be learnt: those that a teacher takes for out of scope choose and measure nothing."""
    kept, outside = scope.apart(task, rows)
    if not outside:
        return kept, []
    sentence = (
        f"Left out {count_rows(numbers(outside))} of '{file}' that are marked as out of scope "
        f"('{task.data.out_of_scope}'): such rows are not learnt."
    )
    notice = Notice.of(numbers(outside), "info", "outside", sentence, file=file, removed=True)
    return kept, [notice]


def _of_others(
    rows: Sequence[Example], held_out: Sequence[Example], column: str | None, file: str, part: Part
) -> tuple[Sequence[Example], list[Notice]]:
    """The rows whose group is not held out: who is to be new there must not be trained on."""
    held = {example.group for example in held_out} - {""}
    known = [example.row for example in rows if example.group in held]
    if not known:
        return rows, []
    sentence = (
        f"Dropped {count_rows(known)} of '{file}' whose group of '{column}' is in the {part} part"
        f" ({name_rows(known)})."
    )
    notice = Notice.of(known, "warning", "shared_group", sentence, file=file, removed=True)
    return [example for example in rows if example.group not in held], [notice]


def _unlike(
    rows: Sequence[Example], train: Sequence[Example], file: str
) -> tuple[Sequence[Example], list[Notice]]:
    """The rows whose text no training row has: where both do, the task's own row is the one to learn from."""
    there = {same(example) for example in train}
    again = [example.row for example in rows if same(example) in there]
    if not again:
        return rows, []
    sentence = f"Dropped {len(again):,} of '{file}' whose text a training row has ({name_rows(again)})."
    notice = Notice.of(again, "info", "duplicate", sentence, file=file, removed=True)
    return [example for example in rows if same(example) not in there], [notice]
