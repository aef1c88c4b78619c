"""One request's visit, from its arrival to its last byte: who came, by when, what became of it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from smallworks.server.allowance import Allowance
from smallworks.server.failures import DeadlineExceeded

CACHED = {
    **{what: ((b"x-smallworks-cache", what.encode()),) for what in ("hit", "miss", "joined", "bypass")},
    "near": ((b"x-smallworks-cache", b"hit"), (b"x-smallworks-cache-kind", b"semantic")),
}
"""The header that tells what the response cache did."""


@dataclass(slots=True, kw_only=True, eq=False)
class Visit:
    """`bundle`, `status` and `error` are filled in on the way. `status` is 0 until the answer begins."""

    id: bytes
    deadline: float
    """Seconds from the arrival, the waiting counted."""
    sent: Mapping[bytes, bytes] = field(default_factory=dict, repr=False)
    """The request's headers, of several by one name the first."""
    body: bytes = field(default=b"", repr=False)
    """The JSON as it came, in UTF-8, with every text of the request, until the guards have seen it; empty
    where it came otherwise, or as one of a batch."""
    arrived: float = field(default_factory=time.perf_counter)
    allowance: Allowance | None = None
    """What the key may do; None where no keys are asked for."""
    inside: bool = False
    bundle: str = ""
    status: int = 0
    error: str = ""
    cache: str = ""
    """What the response cache did: hit, near (by likeness), miss, joined or bypass; empty without one."""
    usage_for_cache: bool = False
    """Whether the usage of a stream was asked for by the cache, not by the client."""

    tokens_in: int = 0
    tokens_out: int = 0
    """Of the answers that were there when the visit ended."""
    stage: str = ""
    """Which stage of a cascade answered last."""
    queued: float = 0.0
    """Seconds in line."""
    first: float = 0.0
    """Seconds from the arrival to the first piece of a stream; 0 without one."""
    findings: tuple[str, ...] = ()
    """What guards found, by the names of their rules."""
    content: dict[str, Any] | None = field(default=None, repr=False)
    """What was said and answered, kept only where traces want it."""

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

    @property
    def key(self) -> str | None:
        """Whose turn it is by; None where no keys are asked for."""
        return self.allowance.key.account if self.allowance else None

    def may_use(self, names: Iterable[str]) -> bool:
        return self.allowance is None or self.allowance.key.may_use(names)

    def headers(self) -> list[tuple[bytes, bytes]]:
        """What every answer to this visit carries besides its own headers."""
        limits = self.allowance.headers() if self.allowance else []
        guards = [(b"x-smallworks-guards", ", ".join(self.findings).encode())] if self.findings else []
        return [(b"x-request-id", self.id), *limits, *CACHED.get(self.cache, ()), *guards]
