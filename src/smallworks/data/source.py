"""What a data command was pointed at: a task, or a bare data file that is read as one.

Knows nothing of what is wrong with the rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from smallworks import taskfile
from smallworks.data.read import READERS, read_rows
from smallworks.data.shapes import Problem, Shape, detect, reader
from smallworks.data.split import Part
from smallworks.errors import DataError
from smallworks.types import Columns, DataFiles, Example, Kind, Targets, Task

LONGEST_LABEL = 80
ROWS_A_LABEL = 5
"""A bare file is a classification when its outputs are this short and each has so many rows on average."""

Scanned = tuple[int, Mapping[str, Any], Example | Problem]
"""A row's number, its raw cells, and what they were read as."""


def open_source(source: Path) -> Task:
    """The task in a folder or a task.toml, or one made up around a data file whose columns have usual names.

    Raises TaskError or DataError for what is neither.
    """
    if source.is_dir() or source.suffix == ".toml":
        return taskfile.load_task(source)
    if not source.is_file():
        raise DataError(f"Nothing at '{source}'.", fix="Give a task folder, a task.toml or a data file.")
    path = source.absolute()
    kind = _kind(path)
    return Task(
        name=path.stem,
        kind=kind,
        instruction="",
        folder=path.parent,
        data=DataFiles(train=path),
        targets=Targets(metric=taskfile.METRICS[kind][0]),
    )


def files_of(task: Task) -> dict[Part, Path]:
    """The files that a task names, by what their rows are for."""
    paths: dict[Part, Path | None] = {
        "train": task.data.train,
        "validation": task.data.validation,
        "test": task.data.test,
    }
    return {part: path for part, path in paths.items() if path is not None}


def name_in(task: Task, path: Path) -> str:
    """The file as the task file names it, where it lies in the task's folder."""
    return str(path.relative_to(task.folder)) if path.is_relative_to(task.folder) else str(path)


def shape_of(path: Path, asked: Columns, name: str) -> tuple[Shape, tuple[str, ...]]:
    """How the rows of a file are read, and its column names. Raises DataError for a file without rows."""
    names = names_of(path)
    return detect(list(names), asked, name), names


def names_of(path: Path) -> tuple[str, ...]:
    """The column names of a file. Raises DataError for a file without rows."""
    names: dict[str, None] = {}
    for _, cells in read_rows(path):
        names.update(dict.fromkeys(cells))
        if READERS[path.suffix.lower()] not in (READERS[".jsonl"], READERS[".json"]):
            break  # a table: its first row has every column
    if not names:
        raise no_rows(path)
    return tuple(names)


def scan(task: Task, path: Path, shape: Shape) -> Iterator[Scanned]:
    """Every row of one file, one at a time, raw and as it was read."""
    read = reader(shape, task)
    for number, cells in read_rows(path):
        yield number, cells, read(number, cells)


def no_rows(path: Path) -> DataError:
    return DataError(f"'{path}' holds no rows.", fix="Add rows, one example each.")


def no_usable_row(path: Path, shape: Shape) -> DataError:
    return DataError(
        f"No row of '{path}' has both an input and an output (read as {shape}).",
        fix="Fill the cells, or name other columns: [data] input and output.",
    )


def _kind(path: Path) -> Kind:
    shape, _ = shape_of(path, Columns(), path.name)
    if shape.messages or shape.alpaca:
        return "generate"
    outputs = Counter(str(cells.get(shape.output) or "").strip() for _, cells in read_rows(path))
    outputs.pop("", None)
    few = len(outputs) * ROWS_A_LABEL <= outputs.total()
    return "classify" if few and max(map(len, outputs), default=0) <= LONGEST_LABEL else "generate"
