"""One request's visit, from its arrival to its last byte: who came, by when, what became of it."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field

from smallworks.server.allowance import Allowance
from smallworks.server.failures import DeadlineExceeded


@dataclass(slots=True, kw_only=True, eq=False)
class Visit:
    """`bundle`, `status` and `error` are filled in on the way. `status` is 0 until the answer begins."""

    id: bytes
    deadline: float
    """Seconds from the arrival, the waiting counted."""
    arrived: float = field(default_factory=time.perf_counter)
    allowance: Allowance | None = None
    """What the key may do; None where no keys are asked for."""
    inside: bool = False
    bundle: str = ""
    status: int = 0
    error: str = ""

    def left(self) -> float:
        """Seconds to the deadline, at least 0."""
        return max(0.0, self.deadline - self.taken())

    def taken(self) -> float:
        """Seconds since the arrival."""
        return time.perf_counter() - self.arrived

    def late(self, began: bool) -> DeadlineExceeded:
        where = "while it was answered" if began else "in line, before its turn came"
        return DeadlineExceeded(
            f"The deadline of {self.deadline:g} s passed {where}.",
            fix="Ask for fewer tokens, or again when there is less to do.",
        )

    def may_use(self, names: Iterable[str]) -> bool:
        return self.allowance is None or self.allowance.key.may_use(names)

    def headers(self) -> list[tuple[bytes, bytes]]:
        """What every answer to this visit carries besides its own headers."""
        limits = self.allowance.headers() if self.allowance else []
        return [(b"x-request-id", self.id), *limits]
