"""A minute of one account, and its answers at once, counted in this process: every request pays for this.

Decided by the same book as in a store, without names and leases: whoever holds is this process.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Lock

from smallworks.server.limits.ledger import Book, Granted, Limits, Refused


class Minute:
    """Safe to share between threads. `limits` may be others each time."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._lock = clock, Lock()
        self._book = Book(clock())

    def knock(self, limits: Limits) -> Refused | None:
        """One request; None where it is granted."""
        with self._lock:
            self._book.now = self._clock()
            return self._book.knock(limits)

    def hold(self, limits: Limits, tokens: int) -> Refused | None:
        """The most that one answer may use; None where it is granted, and `settle` is owed."""
        with self._lock:
            self._book.now = self._clock()
            return self._book.hold(limits, tokens, 0)

    def settle(self, limits: Limits, held: int, used: int) -> None:
        """The answer that held so many tokens has ended."""
        with self._lock:
            self._book.now = self._clock()
            self._book.running -= 1
            self._book.give_back(limits, held - used)

    def left(self, limits: Limits) -> Granted:
        with self._lock:
            self._book.now = self._clock()
            return self._book.granted(limits)
