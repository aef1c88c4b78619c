"""The line before one bundle: how many may be in it, with how many tokens, and who has waited longest.

Bounded by count and by tokens, so that memory and waiting time are. The last part of it is kept for keys
that have nobody in it, so that one key cannot shut the others out. Knows no threads' work and no turns.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Hashable
from threading import Lock

from smallworks.server.failures import Busy
from smallworks.server.rules import Rules

MEMORY = 0.9
"""How much the mean time of an answer keeps of its past when a new one ends."""
KEPT = 8
"""One part in so many of the line is for keys that have nobody waiting in it."""


class Line:
    """Safe to share between threads. `places` answers are given at once; the others wait."""

    def __init__(self, name: str, places: int, rules: Rules) -> None:
        self._name, self._places, self._rules = name, places, rules
        self._lock = Lock()
        self._inside = 0
        self._tokens = 0
        self._waiting: dict[Hashable, tuple[float, str | None]] = {}
        self._of: Counter[str | None] = Counter()
        self._mean = 0.0

    def enter(self, who: Hashable, tokens: int, key: str | None = None) -> None:
        """Stand in line with `tokens`. Raises Busy when there is no room.

        A request that is larger than the whole line may come when it is empty: it could never otherwise.
        """
        with self._lock:
            places, room = self._open_to(key)
            if self._inside >= self._places + places:
                raise self._busy(f"{self._inside} requests are in it already.")
            if self._inside and self._tokens + tokens > room:
                raise self._busy(
                    f"it holds {self._tokens:,} tokens of {room:,}, and this request may take {tokens:,}."
                )
            self._inside += 1
            self._tokens += tokens
            self._waiting[who] = time.perf_counter(), key
            self._of[key] += 1

    def begin(self, who: Hashable) -> float:
        """The engine takes it up now; the seconds that it waited."""
        with self._lock:
            return time.perf_counter() - self._go(who)

    def leave(self, who: Hashable, tokens: int, seconds: float | None) -> None:
        """Give the place back, in line or at the engine, which took `seconds` (None when it never began)."""
        with self._lock:
            self._inside -= 1
            self._tokens -= tokens
            if who in self._waiting:
                self._go(who)
            if seconds is not None:
                self._mean = MEMORY * self._mean + (1 - MEMORY) * seconds if self._mean else seconds

    def inside(self) -> int:
        """Requests in line or at the engine."""
        return self._inside

    def waiting(self) -> int:
        return len(self._waiting)

    def tokens(self) -> int:
        return self._tokens

    def age(self) -> float:
        """Seconds that the longest waiting request has waited; 0 when nobody waits."""
        with self._lock:
            first = next(iter(self._waiting.values()), None)
        return 0.0 if first is None else time.perf_counter() - first[0]

    def _open_to(self, key: str | None) -> tuple[int, int]:
        """How many may wait and how many tokens may be inside for this key's next one to come in."""
        waiting, tokens = self._rules.waiting, self._rules.tokens
        if key is None or not self._of[key]:
            return waiting, tokens
        return waiting - waiting // KEPT, tokens - tokens // KEPT

    def _go(self, who: Hashable) -> float:
        since, key = self._waiting.pop(who)
        self._of[key] -= 1
        if not self._of[key]:
            del self._of[key]
        return since

    def _busy(self, why: str) -> Busy:
        seconds = self._mean * (self._inside - self._places + 1) / self._places
        return Busy(
            f"The line before '{self._name}' is full: {why}",
            fix="Ask again after the seconds in Retry-After, or ask for fewer tokens.",
            seconds=seconds,
        )
