"""A trace: one served request as a frozen value, and the example that it may become. Knows no store."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Trace:
    """`cost` is in micro-dollars, None where no price is known.

    `inputs` holds one entry for each text that was answered, `outputs` as many as there were draws for each;
    None where content is not kept.
    """

    id: str
    at: float
    """Unix time of the arrival."""
    route: str
    bundle: str
    status: int
    code: str
    ms: float
    queue_ms: float
    first_ms: float | None
    tokens_in: int
    tokens_out: int
    cost: int | None
    key: str | None
    stage: str
    cache: str
    findings: tuple[str, ...] = ()
    inputs: tuple[dict[str, str], ...] | None = None
    outputs: tuple[str, ...] | None = None

    def row(self) -> tuple[Any, ...]:
        """The columns of a store, in order."""
        return tuple(
            json.dumps(value, ensure_ascii=False) if name in LISTS and value is not None else value
            for name, value in vars(self).items()
        )

    @classmethod
    def read(cls, row: tuple[Any, ...]) -> Trace:
        values = dict(zip(COLUMNS, row, strict=True))
        for name in LISTS:
            if values[name] is not None:
                values[name] = tuple(json.loads(values[name]))
        return cls(**values)

    def examples(self) -> Iterator[dict[str, Any]]:
        """Rows that `smallworks data` reads: named inputs and the answer; none where no content was kept."""
        asked, told = self.inputs or (), self.outputs or ()
        draws = max(1, len(told) // max(1, len(asked)))
        each = [inputs for inputs in asked for _ in range(draws)]
        for place, (inputs, output) in enumerate(zip(each, told, strict=False)):
            id = self.id if len(each) == 1 else f"{self.id}-{place}"
            if output:
                yield {"id": id, **inputs, "output": output}


COLUMNS = tuple(field.name for field in fields(Trace))
LISTS = ("findings", "inputs", "outputs")
TABLE = """CREATE TABLE IF NOT EXISTS {table} (
  number {serial}, id TEXT NOT NULL, at DOUBLE PRECISION NOT NULL, route TEXT NOT NULL, bundle TEXT NOT NULL,
  status INTEGER NOT NULL, code TEXT NOT NULL, ms DOUBLE PRECISION NOT NULL,
  queue_ms DOUBLE PRECISION NOT NULL, first_ms DOUBLE PRECISION, tokens_in INTEGER NOT NULL,
  tokens_out INTEGER NOT NULL, cost BIGINT, key TEXT,
  stage TEXT NOT NULL, cache TEXT NOT NULL, findings TEXT NOT NULL, inputs TEXT, outputs TEXT
)"""
