"""Many questions to a teacher: so many at once, so many a minute, within a budget; every answer is kept.

Knows nothing of what is asked, nor of what an answer means.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Literal

from smallworks.errors import RequestError
from smallworks.recipes.journal import Journal
from smallworks.recipes.teacher import Said

AT_ONCE = 8
REFUSALS = 5
"""So many refused requests before any answer mean that the request is wrong, not the rows."""

Question = tuple[str, Callable[[], Said]]
"""A key, and the asking."""
End = Literal["all asked", "budget"]


@dataclass(frozen=True, kw_only=True)
class Limits:
    """`budget` is in dollars and counts what earlier runs of the same journal have paid."""

    at_once: int = AT_ONCE
    per_minute: float | None = None
    budget: float | None = None


@dataclass
class Calls:
    """`expected` is what one answer may cost in dollars, before any is known. `refused` maps the keys of
    requests that the server would not take to its words; these are not kept, and asked again another time.
    """

    journal: Journal
    limits: Limits
    price: Callable[[Said], float]
    expected: float = 0.0
    answered: Callable[[], None] = lambda: None
    refused: dict[str, str] = field(default_factory=dict)
    asked: int = 0
    spent_here: float = 0.0

    def __post_init__(self) -> None:
        costs = [self.price(said) for said in self.journal]
        self.spent, self._dearest = sum(costs), max(costs, default=self.expected)
        self._failure: BaseException | None = None
        self._next = 0.0

    def run(self, questions: Iterable[Question]) -> End:
        """Ask what the journal does not hold. Whatever ends it, answers under way are waited for and kept.

        Raises the first failure that is not about a single request, such as UpstreamError.
        """
        end: End = "all asked"
        under_way: dict[Future[Said], str] = {}
        with ThreadPoolExecutor(self.limits.at_once, "teacher") as pool:
            try:
                for key, ask in questions:
                    if key in self.journal or key in self.refused or key in under_way.values():
                        continue
                    while under_way and not self._room(under_way):
                        self._settle(under_way)
                    if self._failure:
                        break
                    if not self._affords(under_way):
                        end = "budget"
                        break
                    self._pace()
                    under_way[pool.submit(ask)] = key
            finally:
                while under_way:
                    self._settle(under_way)
        if self._failure:
            raise self._failure
        return end

    def _room(self, under_way: dict[Future[Said], str]) -> bool:
        return len(under_way) < self.limits.at_once and self._affords(under_way)

    def _affords(self, under_way: dict[Future[Said], str]) -> bool:
        """Whether one more may be asked, should each of them cost as much as the dearest so far."""
        budget = self.limits.budget
        return budget is None or self.spent + (len(under_way) + 1) * self._dearest <= budget

    def _pace(self) -> None:
        if self.limits.per_minute is None:
            return
        now = time.monotonic()
        if now < self._next:
            time.sleep(self._next - now)
        self._next = max(now, self._next) + 60 / self.limits.per_minute

    def _settle(self, under_way: dict[Future[Said], str]) -> None:
        """Wait for at least one answer and keep it."""
        done, _ = wait(under_way, return_when=FIRST_COMPLETED)
        for future in done:
            key, failure = under_way.pop(future), future.exception()
            if failure is None:
                self._keep(key, future.result())
            elif isinstance(failure, RequestError):
                self.refused[key] = failure.what
                if not self.asked and len(self.refused) >= REFUSALS:
                    self._failure = self._failure or failure
            else:
                self._failure = self._failure or failure

    def _keep(self, key: str, said: Said) -> None:
        cost = self.price(said)
        self.journal.add(key, replace(said, date=datetime.now(UTC).date().isoformat()))
        self.asked += 1
        self.spent, self.spent_here = self.spent + cost, self.spent_here + cost
        self._dearest = max(self._dearest, cost)
        self.answered()
