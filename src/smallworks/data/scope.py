"""Rows that belong to no label of the task, apart from those that do.

They are never learnt from: one part chooses from when on a model abstains, the other measures it. Pure; knows
no files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from smallworks.data.checks import numbers
from smallworks.data.marks import same
from smallworks.data.report import Notice, count_rows
from smallworks.data.split import Part, split, split_groups
from smallworks.types import Example, Task


def apart(task: Task, examples: Sequence[Example]) -> tuple[tuple[Example, ...], tuple[Example, ...]]:
    """The rows in scope, and those that are marked as out of it."""
    mark = task.data.out_of_scope
    inside = tuple(example for example in examples if mark is None or example.output != mark)
    outside = tuple(example for example in examples if mark is not None and example.output == mark)
    return inside, outside


def outside_parts(
    task: Task, rows: Mapping[Part, Sequence[Example]]
) -> tuple[tuple[Example, ...], tuple[Example, ...]]:
    """Rows out of scope to choose a threshold by, and rows to measure it on; no text is in both.

    `rows` are those of each file. Without a test file, as large a part as elsewhere is carved out of them.
    """
    known = tuple(example for part in ("train", "validation") for example in rows.get(part, ()))
    test = tuple(rows.get("test", ()))
    if "test" not in rows:
        seed = task.build.seed
        if task.data.columns.group:
            groups = [example.group or f"row {example.row}" for example in known]
            carved = split_groups(known, groups, seed=seed, test=True, validation=False)
        else:
            carved = split(known, seed=seed, stratify=False, test=True, validation=False)
        known, test = carved["train"], carved["test"]
    seen = {same(example) for example in test}
    kept = []
    for example in known:
        text = same(example)
        if text not in seen:
            kept.append(example)
        seen.add(text)
    return tuple(kept), test


def set_aside(task: Task, chosen: Sequence[Example], measured: Sequence[Example]) -> list[Notice]:
    """What is said of them; that there are none is an error, since the mark is then misspelt."""
    mark = task.data.out_of_scope
    if mark is None:
        return []
    if not chosen and not measured:
        sentence = f"No row has '{mark}', which [data] out_of_scope names."
        fix = "Mend its spelling, or leave it out and say how many rows in scope may be lost: in_scope_loss."
        return [Notice(severity="error", code="no_outside", sentence=sentence, fix=fix)]
    sentence = (
        f"Set aside as out of scope ('{mark}'): {count_rows(numbers(chosen))} to choose when to abstain, "
        f"{count_rows(numbers(measured))} to measure it."
    )
    count = len(chosen) + len(measured)
    return [Notice(severity="info", code="outside", sentence=sentence, count=count)]
