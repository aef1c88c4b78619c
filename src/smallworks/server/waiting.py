"""Waiting for an answer: until it is there, its client hangs up, or its time is up."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from smallworks.server.failures import ClientGone
from smallworks.server.visit import Visit

Result = TypeVar("Result")


async def outcome(
    answer: asyncio.Future[Result],
    visit: Visit,
    receive: Callable[[], Awaitable[Any]],
    *,
    began: Callable[[], bool],
) -> Result:
    """The result of `answer`, which is cancelled otherwise. Raises ClientGone or DeadlineExceeded.

    The body must have been read, so that nothing but a disconnect can come. `began` tells the one who was
    too late whether he waited in line.
    """
    gone = asyncio.ensure_future(receive())
    try:
        await asyncio.wait((answer, gone), timeout=visit.left(), return_when=asyncio.FIRST_COMPLETED)
        if answer.done():
            return answer.result()
        raise ClientGone if gone.done() else visit.late(began())
    finally:
        answer.cancel()
        gone.cancel()
