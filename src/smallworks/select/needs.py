"""What a task asks of its model, in numbers, and what a user asks beside the task. Values alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from smallworks.types import Estimate, Kind

Use = Literal["commercial", "redistribute"]
DAYS = 30
"""Days of a month, for bills."""


@dataclass(frozen=True, kw_only=True)
class Needs:
    """`tokens_in` (prompt and all) and `tokens_out` are means of a request; `longest` is of both together.

    `rows` are for training, `linear` is what a linear model scores on rows of them that it did not see.
    `volume` is requests a day, `budget` dollars a month, `flagship` dollars a request, `hour` dollars an hour
    of the machine. None and 0: not told.
    """

    kind: Kind
    rows: int
    labels: int = 0
    tokens_in: float = 200
    tokens_out: float = 50
    longest: int = 512
    target: float | None = None
    linear: Estimate | None = None
    use: tuple[Use, ...] = ()
    languages: tuple[str, ...] = ()
    latency_ms: float | None = None
    private: bool = False
    volume: float | None = None
    budget: float | None = None
    flagship: float | None = None
    hour: float = 0.10

    @property
    def flagship_month(self) -> float | None:
        """Dollars a month that the flagship takes at this volume."""
        if self.flagship is None or self.volume is None:
            return None
        return self.flagship * self.volume * DAYS

    @property
    def per_label(self) -> float:
        return self.rows / max(1, self.labels)
