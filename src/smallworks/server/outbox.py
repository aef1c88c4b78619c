"""A bounded queue before something slow, emptied by one thread: who puts never waits, losses are counted."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from threading import Event, Thread
from typing import Generic, TypeVar

LOG = logging.getLogger("smallworks.server")
BATCH = 500
PAUSE_SECONDS = 1.0
"""How long the thread rests after a failure; what comes meanwhile waits, as far as there is room."""
LAST_SECONDS = 5.0
"""How long what is left gets at the end."""
Item = TypeVar("Item")


class Outbox(Generic[Item]):
    """`write` gets batches, one after another, in the thread. Whatever it raises loses that batch alone.

    `lost` hears of every item that was not written, with the reason: `full`, `failed`.
    """

    def __init__(
        self,
        name: str,
        write: Callable[[Sequence[Item]], None],
        *,
        size: int,
        lost: Callable[[int, str], None],
        rest: float = 0.05,
    ) -> None:
        self._name, self._write, self._size, self._lost, self._rest = name, write, size, lost, rest
        self._waiting: deque[Item] = deque()
        self._ended = Event()
        self._well = True
        self._thread = Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def put(self, item: Item) -> None:
        """Never waits. The thread looks by itself: waking it would cost every request a system call."""
        if len(self._waiting) >= self._size:
            self._lost(1, "full")
            return
        self._waiting.append(item)

    def close(self) -> None:
        """Write what is left, for a few seconds at most; the rest is counted as lost."""
        self._ended.set()
        self._thread.join(LAST_SECONDS)
        if self._waiting:
            self._lost(len(self._waiting), "full")
            self._waiting.clear()

    def _run(self) -> None:
        until = None
        while True:
            if batch := self._batch():
                self._try(batch)
            if self._ended.is_set():
                until = until or time.monotonic() + LAST_SECONDS
                if not self._waiting or time.monotonic() > until:
                    return
            elif len(batch) < BATCH or not self._well:
                self._ended.wait(self._rest if self._well else PAUSE_SECONDS)

    def _batch(self) -> list[Item]:
        return [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]

    def _try(self, batch: list[Item]) -> None:
        try:
            self._write(batch)
        except Exception as error:  # its message may hold what a log should not
            self._lost(len(batch), "failed")
            if self._well:
                LOG.error(
                    "%s: cannot be written (%s); what comes is counted as lost",
                    self._name,
                    type(error).__name__,
                )
            self._well = False
            return
        if not self._well:
            LOG.warning("%s: can be written again", self._name)
        self._well = True
