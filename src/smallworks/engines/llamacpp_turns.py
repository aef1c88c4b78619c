"""Whose adapter llama.cpp applies just now: one at a time, and each in its turn.

llama.cpp computes with one set of scales at a time, and goes on with the one that it has while any of its
answers is under way: whoever asks without a pause would keep all others waiting for ever.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import Condition


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
    def turn(self, scales: Sequence[float]) -> Iterator[None]:
        """Blocks until the adapter of these scales has its turn, by the order of arrival."""
        own, scales = object(), tuple(scales)
        with self._changed:
            self._waiting[own] = scales
            try:
                self._changed.wait_for(lambda: self._may_begin(own))
            finally:
                leads = own not in self._called and not self._inside
                del self._waiting[own]
                self._called.discard(own)
                self._changed.notify_all()
            if leads:
                self._called = {other for other, wanted in self._waiting.items() if wanted == scales}
            self._running = scales
            self._inside += 1
        try:
            yield
        finally:
            with self._changed:
                self._inside -= 1
                self._changed.notify_all()

    def _may_begin(self, own: object) -> bool:
        if own in self._called:
            return True
        first = next(iter(self._waiting))
        if not self._inside:
            return own is first and not self._called
        same = self._waiting[own] == self._running
        return same and all(wanted == self._running for wanted in self._waiting.values())
