"""Records on disk as JSONL, by the ids of their rows, and the worst. Knows nothing of how they were made."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

from smallworks import files
from smallworks.errors import DataError
from smallworks.evaluate.metrics import row_score
from smallworks.types import Record


def write(path: Path, records: Sequence[Record]) -> None:
    """One record a line; the file appears whole or not at all."""
    files.write_jsonl(path, (to_json(record) for record in records))


def read(path: Path) -> list[Record]:
    """The records of a file. Raises DataError that names the line which is none."""
    return list(_each(path))


def first(path: Path) -> list[Record]:
    """The first record of a file, as a list; empty where there is none. It tells the kind of them all."""
    return list(islice(_each(path), 1))


def _each(path: Path) -> Iterator[Record]:
    if not path.is_file():
        raise DataError(f"No records at '{path}'.", fix="Run `smallworks evaluate BUNDLE` to make them.")
    for number, raw in enumerate(files.read_jsonl(path), 1):
        try:
            yield from_json(raw)
        except TypeError as error:
            raise DataError(
                f"'{path}' record {number} is not an evaluation record: {error}.",
                fix="Run `smallworks evaluate BUNDLE` to make the file again.",
            ) from error


def to_json(record: Record) -> dict[str, Any]:
    return asdict(record)


def from_json(raw: Mapping[str, Any]) -> Record:
    """The record that `to_json` wrote. Raises TypeError where keys are missing or unknown."""
    return Record(**raw)


def by_id(records: Sequence[Record], whose: str) -> dict[str, Record]:
    """Each record under its row's id. Raises DataError where there is none, or a row comes twice."""
    found: dict[str, Record] = {record.example_id: record for record in records}
    if not found:
        raise DataError(f"{whose} has no records.", fix="Evaluate it on the same test set first.")
    if len(found) < len(records):
        twice = next(i for i, n in Counter(record.example_id for record in records).items() if n > 1)
        raise DataError(
            f"{whose} has row '{twice}' more than once.", fix="Give every example an id of its own."
        )
    return found


def worst(records: Sequence[Record], n: int = 20, *, metric: str = "accuracy") -> list[Record]:
    """The rows short of full score: lowest first, and among equals the most confident mistakes first.

    `metric` names a per-row score (`METRICS[name].row`).
    """

    def order(record: Record) -> tuple[float, float]:
        return row_score(record, metric), -max((record.probabilities or {}).values(), default=0.0)

    return sorted((r for r in records if row_score(r, metric) < 1.0), key=order)[:n]
