"""Write rows as JSONL or as a table, whole or not at all, and never over what is read.

Knows nothing of what the rows are or why they are written.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from smallworks.errors import DataError, UserError
from smallworks.files import atomic

WRITTEN = {".jsonl": "", ".ndjson": "", ".csv": ",", ".tsv": "\t"}
"""Endings that rows are written under, with the delimiter of those that are tables."""


def refuse_to_lose(targets: Sequence[Path], *, keep: Sequence[Path], force: bool) -> None:
    """Raise UserError for a target that is one of the files that are read, or is there without `force`."""
    for target in targets:
        if target.suffix.lower() not in WRITTEN:
            raise DataError(
                f"'{target}' ends with '{target.suffix}', which rows are not written as.",
                fix=f"End it with one of: {', '.join(WRITTEN)}.",
            )
        if any(target.resolve() == path.resolve() for path in keep):
            raise UserError(f"'{target}' is read by this command.", fix="Choose another --out.")
        if target.exists() and not force:
            raise UserError(f"'{target}' is there already.", fix="Choose another --out, or add --force.")


@contextmanager
def writing(path: Path, names: Sequence[str]) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """A function that writes one row to a file that appears, whole, when the block ends well.

    Half of a surrogate pair, which no UTF-8 holds, is written as JSON's escape for it.
    """
    delimiter = WRITTEN[path.suffix.lower()]
    with (
        atomic(path) as temporary,
        temporary.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file,
    ):
        if not delimiter:
            yield lambda cells: _write_json(file, cells)
            return
        table = csv.writer(file, delimiter=delimiter, lineterminator="\n")
        table.writerow(names)
        yield lambda cells: table.writerow([_cell(cells.get(name)) for name in names])


def _write_json(file: Any, cells: Mapping[str, Any]) -> None:
    file.write(json.dumps(cells, ensure_ascii=False, default=str) + "\n")


def _cell(value: Any) -> Any:
    return (
        json.dumps(value, ensure_ascii=False, default=str) if isinstance(value, bool | list | dict) else value
    )
