"""Write the rows that stay, and every removed one with its reason beside them, so that it can be undone.

Knows nothing of how a row is judged: survey.py does that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from smallworks.data.read import read_rows
from smallworks.data.shapes import Shape
from smallworks.data.source import files_of
from smallworks.data.survey import Survey, survey
from smallworks.data.write import refuse_to_lose, writing
from smallworks.seams import Progress, silent
from smallworks.text.personal import Masker, Namer
from smallworks.types import Task


@dataclass(frozen=True, kw_only=True)
class Cleaning:
    """What was written. `pseudonyms` counts the different values of each kind that were masked."""

    out: Path
    removed: Path
    kept: int
    survey: Survey
    pseudonyms: Mapping[str, int]


def clean(
    task: Task,
    out: Path,
    *,
    mask: bool = False,
    namer: Namer | None = None,
    language: str | None = None,
    force: bool = False,
    progress: Progress = silent,
) -> Cleaning:
    """The training rows that stay to `out`, the others to `<out>.removed.jsonl`; no other file is touched.

    Cells are written as they were read (a CSV's as text). With `mask`, every text cell but the id, and but
    the label of a classification, has its personal data masked, in both files alike, and with `namer` the
    names that it tells. With `language`, rows that are surely in another one go too.
    """
    removed = out.with_name(f"{out.name}.removed.jsonl")
    source = task.data.train
    refuse_to_lose([out, removed], keep=list(files_of(task).values()), force=force)
    found = survey(task, progress, language=language)
    masker = Masker(namer) if mask else None
    masked = _masking(masker, found.shape, labelled=task.kind == "classify")
    kept = 0
    with writing(out, found.names) as write, writing(removed, ()) as lay_aside:  # the last is there first
        for number, cells in read_rows(source):
            removal = found.removals.get(number)
            if removal is None:
                write(masked(cells))
                kept += 1
            else:
                lay_aside({**asdict(removal), "cells": masked(cells)})
    values = masker.values if masker else {}
    pseudonyms: dict[str, int] = {kind: len(found) for kind, found in values.items()}
    return Cleaning(out=out, removed=removed, kept=kept, survey=found, pseudonyms=pseudonyms)


def _masking(
    masker: Masker | None, shape: Shape, *, labelled: bool
) -> Callable[[Mapping[str, Any]], Mapping[str, Any]]:
    """A function that masks a row's cells; the id stays, since other files name rows by it."""
    if masker is None:
        return lambda cells: cells
    spared = {shape.id, shape.output if labelled and not shape.messages else None}

    def masked(cells: Mapping[str, Any]) -> Mapping[str, Any]:
        return {name: value if name in spared else _deep(masker, value) for name, value in cells.items()}

    return masked


def _deep(masker: Masker, value: Any) -> Any:
    """Every text in a cell masked, inside lists and objects too."""
    if isinstance(value, str):
        return masker.mask(value)
    if isinstance(value, list):
        return [_deep(masker, item) for item in value]
    if isinstance(value, dict):
        return {name: _deep(masker, item) for name, item in value.items()}
    return value
