"""What an admitted request holds until its work has ended: a place in line, and tokens of its key.

The work ends in a thread, perhaps long after its client has gone; only then is the place another's, and
only then is it known what was used. Whoever is not let in holds nothing.
"""

from __future__ import annotations

import time

from smallworks.server.allowance import Holding
from smallworks.server.line import Line
from smallworks.server.meters import BundleMeters
from smallworks.server.visit import Visit
from smallworks.types import Answer


class Ticket:
    """`close` it in every case, once; the work's thread calls the rest."""

    def __init__(
        self, line: Line, meters: BundleMeters, holding: Holding | None, tokens: int, visit: Visit
    ) -> None:
        """Takes the holding over. Raises Busy."""
        self._line, self._meters, self._holding, self.tokens = line, meters, holding, tokens
        self._visit = visit
        self._entered = time.perf_counter()
        self._began: float | None = None
        self._first: float | None = None
        self._answers: list[Answer] = []
        try:
            line.enter(self, tokens, visit.key)
        except BaseException:
            if holding:
                holding.close()
            raise

    @property
    def began(self) -> bool:
        return self._began is not None

    def begin(self) -> None:
        """The engine takes it up."""
        self._visit.queued = self._line.begin(self)
        self._meters.waited(self._visit.queued)
        self._began = time.perf_counter()

    def piece(self) -> None:
        """A piece of a streamed answer is there."""
        if self._first is None:
            self._first = time.perf_counter()
            self._visit.first = self._visit.taken()

    def answered(self, *answers: Answer) -> None:
        self._answers += answers
        for answer in answers:
            self._visit.tokens_in += answer.tokens_in
            self._visit.tokens_out += answer.tokens_out
            self._visit.stage = answer.stage or self._visit.stage

    def close(self, _: object = None) -> None:
        """The work has ended, or will never begin: charge what was used, give the rest back."""
        now = time.perf_counter()
        tokens_in = sum(answer.tokens_in for answer in self._answers)
        tokens_out = sum(answer.tokens_out for answer in self._answers)
        self._line.leave(self, self.tokens, None if self._began is None else now - self._began)
        if self._holding:
            micros = self._meters.tariff.cost(self._answers)
            self._holding.close(tokens_in, tokens_out, answered=bool(self._answers), micros=micros)
        self._meters.answered(self._answers)
        if self._first is not None:
            self._meters.streamed(self._first - self._entered, now - self._first, tokens_out)
