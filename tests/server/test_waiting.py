"""Who waits is answered, hangs up, or is too late; what he waited for is then cancelled."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from smallworks.server.failures import ClientGone, DeadlineExceeded
from smallworks.server.visit import Visit
from smallworks.server.waiting import outcome


async def _never() -> Any:
    await asyncio.Event().wait()


async def _hangs_up() -> Any:
    return {"type": "http.disconnect"}


@pytest.mark.parametrize(
    ("receive", "seconds", "raised"), [(_hangs_up, 60.0, ClientGone), (_never, 0.01, DeadlineExceeded)]
)
def test_an_answer_that_nobody_waits_for_is_cancelled(
    receive: Any, seconds: float, raised: type[Exception]
) -> None:
    async def wait() -> bool:
        answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        with pytest.raises(raised):
            await outcome(answer, Visit(id=b"r", deadline=seconds), receive, began=lambda: False)
        return answer.cancelled()

    assert asyncio.run(wait())


def test_an_answer_that_is_there_counts_though_the_client_left() -> None:
    async def wait() -> str:
        answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        answer.set_result("there")
        return await outcome(answer, Visit(id=b"r", deadline=60), _hangs_up, began=lambda: True)

    assert asyncio.run(wait()) == "there"
