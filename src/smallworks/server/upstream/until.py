"""How long a relayed request may go on: until its client hangs up, or its deadline passes.

While nothing has been answered, that cancels the task that waits; afterwards it ends the stream. Knows no
server.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from starlette.requests import Request

from smallworks.server.failures import ClientGone
from smallworks.server.visit import Visit

SOON = 0.05
"""Seconds after which a client that has hung up is noticed at once."""


class Until:
    """`close` it in every case."""

    def __init__(self, request: Request, visit: Visit) -> None:
        loop = asyncio.get_running_loop()
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._visit = visit
        self._end: Callable[[Exception], object] = lambda _: task.cancel()
        self._loop, self._request = loop, request
        # Most answers are there before anybody hangs up: only then is a task worth its cost.
        self._timer = loop.call_later(min(SOON, visit.left()), self._look)
        self._watch: asyncio.Task[None] | None = None
        self.began = False
        """Whether a server has been asked."""
        self.why: Exception | None = None

    def reason(self, cancelled: asyncio.CancelledError) -> BaseException:
        """What ended the wait: ours, or a cancellation from elsewhere."""
        if self.why is None:
            return cancelled
        self._task.uncancel()
        return self.why

    def streaming(self, end: Callable[[Exception], object]) -> None:
        """From now on `end` is told, and no task is cancelled."""
        self._end = end

    def close(self) -> None:
        self._timer.cancel()
        if self._watch is not None:
            self._watch.cancel()

    def _look(self) -> None:
        """From now on the client is watched, and the deadline waited for."""
        self._timer = self._loop.call_later(self._visit.left(), self._late)
        self._watch = self._loop.create_task(self._wait_gone())

    async def _wait_gone(self) -> None:
        # The body has been read, so that nothing but a disconnect can come.
        await self._request.receive()
        self._stop(ClientGone())

    def _late(self) -> None:
        self._stop(self._visit.late(self.began))

    def _stop(self, why: Exception) -> None:
        if self.why is None:
            self.why = why
            self._end(why)
