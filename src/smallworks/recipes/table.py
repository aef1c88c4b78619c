"""The table as JSON and back: what `--json` prints, and what a finished build leaves for the next run."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from smallworks import files
from smallworks.bundle.store import MANIFEST, intact
from smallworks.types import Estimate, Latency, Parity, Row, Table, Verdict

FINISHED = "table.json"


def to_json(table: Table) -> dict[str, Any]:
    """One JSON document; paths as text, `candidates` for the rows, `chosen` with its name and why."""
    return {
        "task": table.task,
        "metric": table.metric,
        "candidates": [_plain(asdict(row)) for row in table.rows],
        "chosen": {
            "name": table.chosen_name,
            "bundle": str(table.chosen) if table.chosen else None,
            "why": table.why,
        },
        "seconds": dict(table.seconds),
        "report": str(table.report) if table.report else None,
    }


def from_json(raw: dict[str, Any]) -> Table:
    return Table(
        task=raw["task"],
        metric=raw["metric"],
        rows=tuple(_row(row) for row in raw["candidates"]),
        chosen=_path(raw["chosen"]["bundle"]),
        chosen_name=raw["chosen"]["name"],
        why=raw["chosen"]["why"],
        seconds=raw["seconds"],
        report=_path(raw["report"]),
    )


def write_finished(folder: Path, key: str, table: Table) -> None:
    files.write_json(folder / FINISHED, {"key": key, "table": to_json(table)})


def read_finished(folder: Path, key: str) -> Table | None:
    """The table of a finished build with this key, when all that it refers to is still there.

    Only the chosen bundle is read to its last byte: hashing them all would take longer than a rerun may.
    """
    if not (folder / FINISHED).is_file():
        return None
    saved = files.read_json(folder / FINISHED)
    if saved["key"] != key:
        return None
    table = from_json(saved["table"])
    needed = [row.bundle / MANIFEST for row in table.rows if row.bundle]
    needed += [row.records for row in table.rows if row.records] + ([table.report] if table.report else [])
    there = all(path.is_file() for path in needed)
    return table if there and (table.chosen is None or intact(table.chosen)) else None


def _row(raw: dict[str, Any]) -> Row:
    return Row(
        **{
            **raw,
            "metric": Estimate(**raw["metric"]) if raw["metric"] else None,
            "metrics": {name: Estimate(**e) for name, e in raw["metrics"].items()},
            "latency": Latency(**raw["latency"]) if raw["latency"] else None,
            "verdict": Verdict(**raw["verdict"]) if raw["verdict"] else None,
            "parity": Parity(**raw["parity"]) if raw["parity"] else None,
            "bundle": _path(raw["bundle"]),
            "records": _path(raw["records"]),
            "notes": tuple(raw["notes"]),
            "mixes": _path(raw.get("mixes")),
        }
    )


def _path(text: str | None) -> Path | None:
    return Path(text) if text else None


def _plain(value: dict[str, Any]) -> dict[str, Any]:
    return {key: str(v) if isinstance(v, Path) else v for key, v in value.items()}
