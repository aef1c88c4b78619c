"""One thread that looks every second at what may have changed on disk: releases, links, certificates."""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import Event, Thread, current_thread, main_thread

LOG = logging.getLogger("smallworks.server")
SECONDS = 1.0

Look = Callable[[bool], None]
"""Looks once. True: the operator asked for it (SIGHUP), so that what was refused before is tried again."""


@contextmanager
def watching(looks: Sequence[Look], *, seconds: float = SECONDS) -> Iterator[Callable[[], None]]:
    """Gives what makes the thread look at once; the thread ends on leaving, after a look that has begun."""
    wake, ended, asked = Event(), Event(), Event()

    def run() -> None:
        while not ended.is_set():
            wake.wait(seconds)
            wake.clear()
            by_hand = asked.is_set()
            asked.clear()
            for look in looks if not ended.is_set() else ():
                _one(look, by_hand)

    def ask() -> None:
        asked.set()
        wake.set()

    thread = Thread(target=run, name="watch", daemon=True)
    thread.start()
    try:
        yield ask
    finally:
        ended.set()
        wake.set()
        thread.join()


@contextmanager
def hangup(ask: Callable[[], None]) -> Iterator[None]:
    """SIGHUP asks, where there is one and this is the main thread."""
    if sys.platform == "win32" or current_thread() is not main_thread():
        yield
        return
    before = signal.signal(signal.SIGHUP, lambda number, frame: ask())
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, before)


def _one(look: Look, asked: bool) -> None:
    """A look that fails must not end the thread; its message may name what a log should not hold."""
    try:
        look(asked)
    except Exception as error:
        LOG.error("watch: unexpected %s", type(error).__name__)
