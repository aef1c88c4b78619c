"""What an admitted request holds until its work has ended: a place in line, and tokens of its key.

The work ends in a thread, perhaps long after its client has gone; only then is the place another's, and
only then is it known what was used. Whoever is not let in holds nothing.
"""

from __future__ import annotations

import time

from smallworks.server.allowance import Allowance
from smallworks.server.line import Line
from smallworks.server.meters import BundleMeters
from smallworks.types import Answer


class Ticket:
    """`close` it in every case, once; the work's thread calls the rest."""

    def __init__(self, line: Line, meters: BundleMeters, allowance: Allowance | None, tokens: int) -> None:
        """Raises Busy, or what the key's allowance raises."""
        self._line, self._meters, self._tokens = line, meters, tokens
        self._entered = time.perf_counter()
        self._began: float | None = None
        self._first: float | None = None
        self._answers: list[Answer] = []
        self._holding = allowance.hold(tokens) if allowance else None
        try:
            line.enter(self, tokens)
        except BaseException:
            if self._holding:
                self._holding.close(0)
            raise

    @property
    def began(self) -> bool:
        return self._began is not None

    def begin(self) -> None:
        """The engine takes it up."""
        self._meters.waited(self._line.begin(self))
        self._began = time.perf_counter()

    def piece(self) -> None:
        """A piece of a streamed answer is there."""
        if self._first is None:
            self._first = time.perf_counter()

    def answered(self, *answers: Answer) -> None:
        self._answers += answers

    def close(self, _: object = None) -> None:
        """The work has ended, or will never begin: charge what was used, give the rest back."""
        now = time.perf_counter()
        used = sum(answer.tokens_in + answer.tokens_out for answer in self._answers)
        self._line.leave(self, self._tokens, None if self._began is None else now - self._began)
        if self._holding:
            self._holding.close(used)
        self._meters.answered(self._answers)
        if self._first is not None:
            tokens = sum(answer.tokens_out for answer in self._answers)
            self._meters.streamed(self._first - self._entered, now - self._first, tokens)
