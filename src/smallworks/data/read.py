"""Read the raw rows of a JSONL, JSON, CSV, TSV or Parquet file, one at a time, with their numbers.

Knows nothing of tasks or of what the columns mean.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from smallworks.errors import DataError, MissingExtra

RawRow = tuple[int, Mapping[str, Any]]
"""The row's number and its cells. JSONL rows are numbered as lines, others from 1 without a header."""

LONGEST_CELL = 2**30  # csv's own limit of 131,072 characters is below one long document


def read_rows(path: Path) -> Iterator[RawRow]:
    """The rows of a file, its format told by its ending.

    Raises DataError that names the line for anything that does not parse, MissingExtra for Parquet
    without pyarrow.
    """
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise DataError(
            f"'{path}' ends with '{path.suffix}', which is no known format.",
            fix=f"Save it as one of: {', '.join(READERS)}.",
        )
    try:
        yield from reader(path)
    except OSError as error:
        raise DataError(
            f"Could not read '{path}': {error.strerror or error}.", fix="Check the path."
        ) from error


def _jsonl(path: Path) -> Iterator[RawRow]:
    with _opened(path, newline="\n") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                yield number, _object(_line(path, number, line), path, f"line {number}")


def _line(path: Path, number: int, line: str) -> Any:
    try:
        return json.loads(line)
    except json.JSONDecodeError as error:
        raise DataError(
            f"'{path}' line {number} is not valid JSON: {error.msg} at column {error.colno}.",
            fix="Mend or delete that line.",
        ) from error


def _object(value: Any, path: Path, place: str) -> Mapping[str, Any]:
    if isinstance(value, dict):
        return value
    raise DataError(
        f"'{path}' {place} is {_kind_of(value)}, not a JSON object.",
        fix='Write one object a row, such as {"text": "…", "label": "…"}.',
    )


def _kind_of(value: Any) -> str:
    names = {list: "a list", str: "a text", bool: "true or false", int: "a number", float: "a number"}
    return names.get(type(value), "null")


def _json(path: Path) -> Iterator[RawRow]:
    with _opened(path, newline="") as file:
        text = file.read()
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        if error.msg == "Extra data" and text.lstrip().startswith("{"):  # JSONL under another ending
            yield from _jsonl(path)
            return
        raise DataError(
            f"'{path}' is not valid JSON at line {error.lineno}, column {error.colno}: {error.msg}.",
            fix="Mend it there.",
        ) from error
    if isinstance(document, dict) and len(document) == 1:  # {"data": […]}
        document = next(iter(document.values()))
    if not isinstance(document, list):
        raise DataError(
            f"'{path}' holds one JSON value, not a list of rows.",
            fix='Write [{"text": "…", "label": "…"}, …], or one object a line in a .jsonl file.',
        )
    for number, row in enumerate(document, 1):
        yield number, _object(row, path, f"row {number}")


def _csv(path: Path) -> Iterator[RawRow]:
    with _opened(path, newline="") as file:
        delimiter = _delimiter(path, file.readline())
        file.seek(0)
        csv.field_size_limit(LONGEST_CELL)
        reader = csv.reader(file, delimiter=delimiter, strict=True)
        try:
            header = _header(path, next(reader, []))
            number = 0
            for cells in reader:
                if not cells:
                    continue
                number += 1
                if len(cells) != len(header):
                    raise DataError(
                        f"'{path}' row {number} (line {reader.line_num}) has {len(cells)} cells"
                        f" where the header has {len(header)}.",
                        fix=f"Put quotes around cells that hold {_named(delimiter)}.",
                    )
                yield number, dict(zip(header, cells, strict=True))
        except csv.Error as error:
            raise DataError(
                f"'{path}' line {reader.line_num} does not parse as CSV: {error}.",
                fix='Close every quote, and write a quote inside quotes twice ("").',
            ) from error


def _delimiter(path: Path, first_line: str) -> str:
    """Tab for TSV; otherwise whichever of comma, semicolon and tab the header holds most of."""
    if path.suffix.lower() == ".tsv":
        return "\t"
    return max(",;\t", key=first_line.count)


def _named(delimiter: str) -> str:
    return {",": "a comma", ";": "a semicolon"}.get(delimiter, "a tab")


def _header(path: Path, cells: list[str]) -> list[str]:
    header = [cell.strip() for cell in cells]
    twice = [name for index, name in enumerate(header) if name in header[:index]]
    if twice:
        raise DataError(f"'{path}' has two columns named '{twice[0]}'.", fix="Rename one of them.")
    return header


def _parquet(path: Path) -> Iterator[RawRow]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as parquet
    except ImportError as error:
        raise MissingExtra("pyarrow", extra="data", wanted_for=f"Reading '{path.name}'") from error

    try:
        number = 0
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches():
                for row in batch.to_pylist():
                    number += 1
                    yield number, row
    except pa.ArrowException as error:
        raise DataError(
            f"'{path}' is not a readable Parquet file: {error}.", fix="Write it again, or save it as JSONL."
        ) from error


@contextmanager
def _opened(path: Path, *, newline: str) -> Iterator[IO[str]]:
    """The file as text, its byte-order mark dropped; bytes that are not UTF-8 are named by their line."""
    with path.open(encoding="utf-8-sig", newline=newline) as file:
        try:
            yield file
        except UnicodeDecodeError as error:
            raise DataError(
                f"'{path}' line {_first_undecodable(path)} is not UTF-8.", fix="Save the file as UTF-8."
            ) from error


def _first_undecodable(path: Path) -> int:
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError:
                return number
    return 1


READERS: Mapping[str, Callable[[Path], Iterator[RawRow]]] = {
    ".jsonl": _jsonl,
    ".ndjson": _jsonl,
    ".json": _json,
    ".csv": _csv,
    ".tsv": _csv,
    ".parquet": _parquet,
}
