"""The line before one bundle: how many may be in it, with how many tokens, and who has waited longest.

Bounded by count and by tokens, so that memory and waiting time are. Knows no threads' work, no keys.
"""

from __future__ import annotations

import time
from collections.abc import Hashable
from threading import Lock

from smallworks.server.failures import Busy
from smallworks.server.rules import Rules

MEMORY = 0.9
"""How much the mean time of an answer keeps of its past when a new one ends."""


class Line:
    """Safe to share between threads. `places` answers are given at once; the others wait."""

    def __init__(self, name: str, places: int, rules: Rules) -> None:
        self._name, self._places, self._rules = name, places, rules
        self._lock = Lock()
        self._inside = 0
        self._tokens = 0
        self._waiting: dict[Hashable, float] = {}
        self._mean = 0.0

    def enter(self, who: Hashable, tokens: int) -> None:
        """Stand in line with `tokens`. Raises Busy when there is no room.

        A request that is larger than the whole line may come when it is empty: it could never otherwise.
        """
        with self._lock:
            if self._inside >= self._places + self._rules.waiting:
                raise self._busy(f"{self._inside} requests are in it already.")
            if self._inside and self._tokens + tokens > self._rules.tokens:
                raise self._busy(
                    f"it holds {self._tokens:,} tokens of {self._rules.tokens:,}, "
                    f"and this request may take {tokens:,}."
                )
            self._inside += 1
            self._tokens += tokens
            self._waiting[who] = time.perf_counter()

    def begin(self, who: Hashable) -> float:
        """The engine takes it up now; the seconds that it waited."""
        with self._lock:
            return time.perf_counter() - self._waiting.pop(who)

    def leave(self, who: Hashable, tokens: int, seconds: float | None) -> None:
        """Give the place back, in line or at the engine, which took `seconds` (None when it never began)."""
        with self._lock:
            self._inside -= 1
            self._tokens -= tokens
            self._waiting.pop(who, None)
            if seconds is not None:
                self._mean = MEMORY * self._mean + (1 - MEMORY) * seconds if self._mean else seconds

    def waiting(self) -> int:
        return len(self._waiting)

    def tokens(self) -> int:
        return self._tokens

    def age(self) -> float:
        """Seconds that the longest waiting request has waited; 0 when nobody waits."""
        with self._lock:
            first = next(iter(self._waiting.values()), None)
        return 0.0 if first is None else time.perf_counter() - first

    def _busy(self, why: str) -> Busy:
        seconds = self._mean * (self._inside - self._places + 1) / self._places
        return Busy(
            f"The line before '{self._name}' is full: {why}",
            fix="Ask again after the seconds in Retry-After, or ask for fewer tokens.",
            seconds=seconds,
        )
