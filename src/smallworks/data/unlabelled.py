"""Read rows that have an input and may lack an output, one at a time. Knows nothing of who labels them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smallworks.data.read import read_rows
from smallworks.data.shapes import Shape, reader, shape_without_output
from smallworks.data.source import names_of
from smallworks.types import Example, Task


@dataclass(frozen=True, kw_only=True)
class Unlabelled:
    """A row with its raw cells. `text` is None where it has no input that can be read."""

    row: int
    cells: Mapping[str, Any]
    text: str | None
    labelled: bool


def unlabelled_shape(task: Task, path: Path, *, output: str) -> Shape:
    """How the rows are read; the column `output` is for answers where the file has none of a usual name."""
    return shape_without_output(names_of(path), task.data.columns, path.name, output=output)


def read_unlabelled(task: Task, path: Path, shape: Shape) -> Iterator[Unlabelled]:
    read = reader(shape, task, labelled=False)
    for number, cells in read_rows(path):
        example = read(number, cells)
        yield Unlabelled(
            row=number,
            cells=cells,
            text=example.text if isinstance(example, Example) else None,
            labelled=str(cells.get(shape.output) or "").strip() != "",
        )
