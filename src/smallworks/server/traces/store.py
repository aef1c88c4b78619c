"""What a store of traces must do; SQLite and PostgreSQL do it. Used by one thread at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from smallworks.server.traces.trace import Trace


class Store(Protocol):
    """Connects when it is first needed, and again after a failure. What fails is raised as it comes."""

    where: str
    """Its address, without a password."""

    def write(self, traces: Sequence[Trace]) -> None: ...

    def trim(self, *, before: float, rows: int, most: int) -> int:
        """Delete up to `most` of what arrived before that time or is not among the newest `rows`.

        Gives how many were deleted.
        """
        ...

    def read(
        self, *, since: float = 0.0, bundle: str | None = None, last: int | None = None
    ) -> Iterator[Trace]:
        """The oldest first; the newest `last` of them."""
        ...

    def count(self) -> int: ...

    def close(self) -> None: ...
