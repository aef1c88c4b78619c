"""Whose adapter llama.cpp applies just now: one at a time, and each in its turn.

llama.cpp computes with one set of scales at a time, and goes on with the one that it has while any of its
answers is under way: whoever asks without a pause would keep all others waiting for ever.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import Condition

LOOK = 0.05
"""Seconds between two looks at whether one who waits has given up: an Event that is set wakes nobody here."""


class Turns:
    """One adapter's answers at a time; once another waits, no more are begun before those have ended."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._running: tuple[float, ...] = ()
        self._inside = 0
        self._waiting: dict[object, tuple[float, ...]] = {}
        """By arrival."""
        self._called: set[object] = set()
        """Those who waited with the same adapter when its turn came: they begin together."""

    @contextmanager
    def turn(self, scales: Sequence[float], given_up: Callable[[], bool] | None = None) -> Iterator[bool]:
        """Blocks until the adapter of these scales has its turn, by the order of arrival.

        False, and no turn is taken, for one who has given up before it came.
        """
        own, scales = object(), tuple(scales)
        with self._changed:
            self._waiting[own] = scales
            try:
                gone = self._wait(own, given_up)
            finally:
                leads = own not in self._called and not self._inside
                del self._waiting[own]
                self._called.discard(own)
                self._changed.notify_all()
            if not gone:
                if leads:
                    self._called = {other for other, wanted in self._waiting.items() if wanted == scales}
                self._running = scales
                self._inside += 1
        if gone:
            yield False
            return
        try:
            yield True
        finally:
            with self._changed:
                self._inside -= 1
                self._changed.notify_all()

    def _wait(self, own: object, given_up: Callable[[], bool] | None) -> bool:
        """Until it may begin, or has given up: whether that."""
        if given_up is None:
            self._changed.wait_for(lambda: self._may_begin(own))
            return False
        while not given_up():
            if self._may_begin(own):
                return False
            self._changed.wait(LOOK)
        return True

    def _may_begin(self, own: object) -> bool:
        if own in self._called:
            return True
        first = next(iter(self._waiting))
        if not self._inside:
            return own is first and not self._called
        same = self._waiting[own] == self._running
        return same and all(wanted == self._running for wanted in self._waiting.values())
