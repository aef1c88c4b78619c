"""One asks for all that want the same; whatever becomes of it, the next one asks, and nobody fails for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smallworks.server.cache.entry import Kept
from smallworks.server.cache.flight import Flights
from smallworks.server.failures import ClientGone, DeadlineExceeded
from smallworks.server.visit import Visit

Run = Callable[[Any], Any]
KEY, KEPT = bytes(32), Kept(b"{}", 2e9)


def visit(seconds: float = 60.0) -> Visit:
    return Visit(id=b"x", deadline=seconds)


async def stays() -> None:
    await asyncio.Event().wait()


async def leaves() -> None:
    return None


async def followers(flights: Flights, count: int, seconds: float = 60.0) -> list[asyncio.Task[Kept | None]]:
    assert await flights.join(KEY, visit(), stays) is None
    tasks = [asyncio.create_task(flights.join(KEY, visit(seconds), stays)) for _ in range(count)]
    await asyncio.sleep(0)
    return tasks


def test_all_that_wait_get_what_landed(run: Run) -> None:
    async def work() -> list[Kept | None]:
        flights = Flights()
        tasks = await followers(flights, 20)
        flights.land(KEY, KEPT)
        assert len(flights) == 0
        return await asyncio.gather(*tasks)

    assert run(work()) == [KEPT] * 20


def test_a_failed_leader_hands_over_to_one(run: Run) -> None:
    async def work() -> list[Kept | None]:
        flights = Flights()
        tasks = await followers(flights, 3)
        flights.fail(KEY)
        assert await tasks[0] is None
        await asyncio.sleep(0)
        assert not any(task.done() for task in tasks[1:])
        flights.land(KEY, KEPT)
        return await asyncio.gather(*tasks[1:])

    assert run(work()) == [KEPT, KEPT]


def test_a_follower_fails_by_its_own_deadline_alone(run: Run) -> None:
    async def work() -> None:
        flights = Flights()
        (late,) = await followers(flights, 1, seconds=0.01)
        patient = asyncio.create_task(flights.join(KEY, visit(), stays))
        with pytest.raises(DeadlineExceeded):
            await late
        flights.land(KEY, KEPT)
        assert await patient == KEPT

    run(work())


def test_a_follower_that_hangs_up_is_passed_over(run: Run) -> None:
    async def work() -> None:
        flights = Flights()
        await followers(flights, 0)
        with pytest.raises(ClientGone):
            await flights.join(KEY, visit(), leaves)
        patient = asyncio.create_task(flights.join(KEY, visit(), stays))
        await asyncio.sleep(0)
        flights.fail(KEY)
        assert await patient is None

    run(work())


def test_a_follower_cancelled_in_its_turn_passes_it_on(run: Run) -> None:
    async def work() -> Kept | None:
        flights = Flights()
        first, second = await followers(flights, 2)
        flights.fail(KEY)
        first.cancel()  # its turn has come, and it never wakes
        return await second

    assert run(work()) is None


def test_the_last_that_leaves_takes_the_flight_along(run: Run) -> None:
    async def work() -> int:
        flights = Flights()
        (task,) = await followers(flights, 1)
        flights.fail(KEY)
        assert await task is None
        flights.fail(KEY)
        return len(flights)

    assert run(work()) == 0


@settings(max_examples=50, deadline=None)
@given(st.lists(st.sampled_from(["land", "fail", "cancel"]), min_size=1, max_size=30))
def test_nobody_is_left_waiting(ends: list[str]) -> None:
    """Requests end in every way, one after another; all are over in the end, and none is remembered."""

    async def one(flights: Flights, end: str) -> str:
        found = await flights.join(KEY, visit(), stays)
        if found is not None:
            return "joined"
        try:
            await asyncio.sleep(0)
            if end == "cancel":
                raise asyncio.CancelledError
        except BaseException:
            flights.fail(KEY)
            raise
        if end == "land":
            flights.land(KEY, KEPT)
        else:
            flights.fail(KEY)
        return end

    async def work() -> None:
        flights = Flights()
        tasks = [asyncio.create_task(one(flights, end)) for end in ends]
        _, pending = await asyncio.wait(tasks, timeout=10)
        assert not pending
        assert len(flights) == 0

    asyncio.run(work())
