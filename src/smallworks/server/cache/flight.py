"""One request asks for all that want the same: the others wait for it, each within its own time.

When the one that asks fails, hangs up or runs out of time, the next in line asks; nobody fails of another's
failure. In this process: servers that share a store ask once each.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

from smallworks.server.cache.entry import Kept
from smallworks.server.visit import Visit
from smallworks.server.waiting import outcome


class Flights:
    """For the event loop alone. Whoever leads ends with `land` or `fail`, once."""

    def __init__(self) -> None:
        self._waiting: dict[bytes, deque[asyncio.Future[Kept | None]]] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    async def join(self, key: bytes, visit: Visit, receive: Callable[[], Awaitable[Any]]) -> Kept | None:
        """The answer that another request was given, or None: this one leads.

        Raises ClientGone, or DeadlineExceeded when the visit's own time is up.
        """
        waiting = self._waiting.get(key)
        if waiting is None:
            self._waiting[key] = deque()
            return None
        turn: asyncio.Future[Kept | None] = asyncio.get_running_loop().create_future()
        waiting.append(turn)
        try:
            return await outcome(turn, visit, receive, began=lambda: False)
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.result() is None:
                self.fail(key)
            raise

    def land(self, key: bytes, kept: Kept) -> None:
        """All that wait are answered."""
        for turn in self._waiting.pop(key):
            if not turn.done():
                turn.set_result(kept)

    def fail(self, key: bytes) -> None:
        """The next that still waits leads."""
        waiting = self._waiting[key]
        while waiting:
            turn = waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        del self._waiting[key]
