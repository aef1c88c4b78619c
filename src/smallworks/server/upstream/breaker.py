"""Whether a server is asked just now: not while it is known to fail. A clock in, no I/O.

Closed: asked. After `failures` in a row it is open: not asked for `seconds`, twice as long after each probe
that fails, up to LONGEST times. Then half-open: one request is let through, and says which it is.
"""

from __future__ import annotations

from typing import Literal

State = Literal["closed", "half-open", "open"]
LONGEST = 16


class Breaker:
    def __init__(self, *, failures: int, seconds: float) -> None:
        self._most, self._seconds = failures, seconds
        self._row = 0
        self._pause = seconds
        self._until: float | None = None
        self._probing = False

    def state(self, now: float) -> State:
        if self._until is None:
            return "closed"
        return "open" if now < self._until else "half-open"

    def allows(self, now: float) -> bool:
        return self._until is None or (now >= self._until and not self._probing)

    def wait(self, now: float) -> float:
        """Seconds until it may be asked; a probe under way is taken to need a second."""
        if self.allows(now):
            return 0.0
        assert self._until is not None
        return max(self._until - now, 1.0 if self._probing else 0.0)

    def begin(self, now: float) -> bool:
        """A request goes out; True where it is the probe, for which one of the three below is owed."""
        self._probing = self.state(now) == "half-open"
        return self._probing

    def succeeded(self) -> None:
        self._row, self._until, self._probing, self._pause = 0, None, False, self._seconds

    def failed(self, now: float, *, probe: bool) -> None:
        self._row += 1
        if probe:
            self._probing = False
            self._pause = min(2 * self._pause, LONGEST * self._seconds)
            self._until = now + self._pause
        elif self._until is None and self._row >= self._most:
            self._until = now + self._pause

    def abandoned(self) -> None:
        """The probe ended without telling anything."""
        self._probing = False

    def hurry(self, now: float) -> None:
        """The server was seen well by other means: the probe may go now."""
        if self._until is not None:
            self._until = min(self._until, now)
