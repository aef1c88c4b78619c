"""Divide one file into train, validation and test files: stratified, by whole groups, or by time.

Every usable row lands in exactly one file. Knows nothing of how the parts are drawn: split.py does that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from smallworks.data import checks
from smallworks.data.marks import marked, same
from smallworks.data.read import read_rows
from smallworks.data.report import Notice, count_rows, name_rows
from smallworks.data.shapes import Problem
from smallworks.data.source import name_in, scan, shape_of
from smallworks.data.split import Part, split, split_by_time, split_groups
from smallworks.data.write import WRITTEN, refuse_to_lose, writing
from smallworks.errors import DataError, UserError, nearest
from smallworks.types import Example, Task


@dataclass(frozen=True, kw_only=True)
class Division:
    """The files that were written and the rows in each; `how` says in words by what they were drawn."""

    files: Mapping[Part, Path]
    sizes: Mapping[Part, int]
    how: str
    notices: tuple[Notice, ...]


def divide(
    task: Task, out: Path, *, group: str | None = None, by_time: str | None = None, force: bool = False
) -> Division:
    """The task's training file as three files in the folder `out`; by the task's own groups unless told else.

    Raises UserError for `group` together with `by_time`, DataError for a column that is not there, a time
    that is none, and rows that cannot give a train and a test part.
    """
    if group and by_time:
        raise UserError(
            f"Rows cannot be split by group '{group}' and by time '{by_time}' at once.",
            fix="Name one of them.",
        )
    if not by_time:
        group = group or task.data.columns.group
    path = task.data.train
    ending = path.suffix.lower() if path.suffix.lower() in WRITTEN else ".jsonl"
    files: dict[Part, Path] = {
        "train": out / f"train{ending}",
        "validation": out / f"validation{ending}",
        "test": out / f"test{ending}",
    }
    refuse_to_lose(list(files.values()), keep=[path], force=force)
    names, examples, cells, left_out = _read(task, group or by_time)
    parts, how = _drawn(task, examples, cells, group=group, by_time=by_time)
    sizes = {part: len(rows) for part, rows in parts.items()}
    notices = [*left_out, *_small(sizes, task, how), *_shared(parts)]
    _write(path, names, files, parts)
    return Division(files=files, sizes=sizes, how=how, notices=tuple(notices))


def _read(task: Task, column: str | None) -> tuple[tuple[str, ...], list[Example], list[Any], list[Notice]]:
    """Column names, the usable rows by their marks, what stands in `column` of each, and what is left out."""
    path = task.data.train
    file = name_in(task, path)
    shape, names = shape_of(path, task.data.columns, file)
    if column is not None and column not in names:
        raise DataError(
            f"'{file}' has no column '{column}'; its columns are: {', '.join(names)}.",
            fix=nearest(column, names),
        )
    examples: list[Example] = []
    cells: list[Any] = []
    problems: list[int] = []
    for _, raw, read in scan(task, path, shape):
        if isinstance(read, Problem):
            problems.append(read.row)
        else:
            examples.append(marked(read, seed=task.build.seed, keep_output=task.kind == "classify"))
            cells.append(raw.get(column) if column else None)
    if not problems:
        return names, examples, cells, []
    sentence = f"Left out {count_rows(problems)} of '{file}' that cannot be used ({name_rows(problems)})."
    notice = Notice.of(problems, "warning", "unusable_row", sentence, file=file, removed=True)
    return names, examples, cells, [notice]


def _drawn(
    task: Task, examples: Sequence[Example], cells: Sequence[Any], *, group: str | None, by_time: str | None
) -> tuple[Mapping[Part, Sequence[Example]], str]:
    if group:
        names = [
            str(cell) if cell not in (None, "") else f"row {e.row}"
            for e, cell in zip(examples, cells, strict=True)
        ]
        parts = split_groups(examples, names, seed=task.build.seed)
        return parts, f"by whole groups of '{group}' ({len(set(names)):,} groups)"
    if by_time:
        return split_by_time(
            examples, _times(examples, cells, by_time)
        ), f"by time of '{by_time}', the latest to test"
    stratify = task.kind == "classify"
    parts = split(examples, seed=task.build.seed, stratify=stratify, test=True, validation=True)
    return parts, "stratified by label" if stratify else "at random, by the hash of each text"


def _times(examples: Sequence[Example], cells: Sequence[Any], column: str) -> list[float]:
    """Seconds, or whatever unit numbers have. Raises DataError for what is no time, and for a mixture."""
    times: list[float] = []
    numeric: set[bool] = set()
    for example, cell in zip(examples, cells, strict=True):
        time = _time(cell)
        if time is None:
            raise DataError(
                f"Row {example.row} has no time in '{column}': '{cell}'.",
                fix="Write it as a number or in ISO 8601, such as 2026-03-31 or 2026-03-31T12:00:00.",
            )
        numeric.add(time[1])
        times.append(time[0])
    if len(numeric) > 1:
        raise DataError(f"'{column}' mixes numbers and dates.", fix="Write every time in one way.")
    return times


def _time(cell: Any) -> tuple[float, bool] | None:
    """A moment, and whether it is a bare number; dates without a zone count as UTC."""
    if isinstance(cell, int | float) and not isinstance(cell, bool):
        return (float(cell), True) if cell == cell else None
    if isinstance(cell, date) and not isinstance(cell, datetime):
        cell = datetime(cell.year, cell.month, cell.day)
    if not isinstance(cell, datetime):
        text = str(cell or "").strip()
        try:
            return float(text), True
        except ValueError:
            cell = _iso(text)
    if cell is None:
        return None
    return (cell if cell.tzinfo else cell.replace(tzinfo=UTC)).timestamp(), False


def _iso(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def _small(sizes: Mapping[Part, int], task: Task, how: str) -> list[Notice]:
    """What is to be said of the parts' sizes. Raises DataError where there is no train or no test part."""
    file = name_in(task, task.data.train)
    notices = checks.part_sizes({str(part): size for part, size in sizes.items()}, file)
    error = next((notice for notice in notices if notice.severity == "error"), None)
    if error:
        raise DataError(f"Split {how}: {error.sentence}", fix="Add rows, or split in another way.")
    return notices


def _shared(parts: Mapping[Part, Sequence[Example]]) -> list[Notice]:
    """Rows of an earlier part whose text stands in a later one: a build leaves them out of train."""
    texts = {part: {same(example) for example in rows} for part, rows in parts.items()}
    notices = []
    for part, later in (("train", texts["test"] | texts["validation"]), ("validation", texts["test"])):
        rows = [e.row for e in parts["train" if part == "train" else "validation"] if same(e) in later]
        if rows:
            sentence = (
                f"{count_rows(rows)} of {part} have a text that a later part has too ({name_rows(rows)})."
            )
            fix = "A build leaves them out; 'smallworks data clean' before splitting lowers their number."
            notices.append(Notice.of(rows, "info", "leak", sentence, file=part, fix=fix))
    return notices


def _write(
    path: Path, names: Sequence[str], files: Mapping[Part, Path], parts: Mapping[Part, Sequence[Example]]
) -> None:
    part_of = {example.row: part for part, rows in parts.items() for example in rows}
    with (
        writing(files["train"], names) as train,
        writing(files["validation"], names) as validation,
        writing(files["test"], names) as test,
    ):
        to: dict[Part, Any] = {"train": train, "validation": validation, "test": test}
        for number, cells in read_rows(path):
            if number in part_of:
                to[part_of[number]](cells)
