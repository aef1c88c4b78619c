"""A store that fails is a miss, counted, and left alone for a while; memory goes on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest

from smallworks.server.cache import tiers
from smallworks.server.cache.entry import Foreign, Kept
from smallworks.server.cache.meters import CacheMeters
from smallworks.server.cache.redis import RedisStore
from smallworks.server.cache.store import MemoryStore
from smallworks.server.cache.tiers import Tiers

Run = Callable[[Any], Any]
KEY = bytes(32)


class Broken:
    """A store that does what it is told, and counts how often it was asked."""

    def __init__(
        self, error: Exception | None = None, found: Kept | None = None, hangs: bool = False
    ) -> None:
        self.error, self.found, self.hangs, self.asked = error, found, hangs, 0

    async def get(self, key: bytes) -> Kept | None:
        self.asked += 1
        if self.hangs:
            await asyncio.Event().wait()
        if self.error:
            raise self.error
        return self.found

    async def put(self, key: bytes, kept: Kept) -> None:
        await self.get(key)

    async def close(self) -> None:
        """Nothing to close."""


@pytest.fixture()
def make(meters: CacheMeters) -> Callable[..., Tiers]:
    return lambda store: Tiers(MemoryStore(10, 10**6, meters.evicted), store, meters)


@pytest.mark.parametrize("broken", [Broken(OSError("disk full")), Broken(hangs=True)])
def test_a_store_that_fails_costs_one_request_its_patience(
    make: Callable[..., Tiers], counted: Callable[..., float], run: Run, broken: Broken
) -> None:
    async def work() -> float:
        kept_in = make(broken)
        assert await kept_in.far(KEY) is None
        start = time.perf_counter()
        for _ in range(1000):
            assert await kept_in.far(KEY) is None
        return time.perf_counter() - start

    assert run(work()) < 1000 * tiers.PATIENCE / 10
    assert broken.asked == 1
    assert counted("store_errors") == 1


def test_the_rest_doubles_and_ends_with_the_first_success(
    make: Callable[..., Tiers], run: Run, monkeypatch: pytest.MonkeyPatch, kept: Callable[..., Kept]
) -> None:
    clock = [0.0]
    monkeypatch.setattr(tiers.time, "monotonic", lambda: clock[0])
    broken = Broken(OSError())
    asked = []

    async def work() -> Kept | None:
        kept_in = make(broken)
        for second in range(16):
            clock[0] = second + 0.5
            await kept_in.far(KEY)
            asked.append(broken.asked)
        clock[0], broken.error, broken.found = 100.0, None, kept("back")
        await kept_in.far(KEY)
        return await kept_in.far(KEY)

    found = run(work())
    assert asked == [1, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 4, 4, 4, 4, 5]
    assert found is not None


def test_memory_answers_while_the_store_is_gone(
    make: Callable[..., Tiers], run: Run, kept: Callable[..., Kept]
) -> None:
    async def work() -> Kept | None:
        kept_in = make(Broken(ConnectionError()))
        kept_in.put(KEY, kept())
        await asyncio.sleep(0)
        return kept_in.near(KEY)

    assert run(work()) is not None


def test_a_foreign_entry_is_a_miss_and_no_reason_to_rest(
    make: Callable[..., Tiers], run: Run, counted: Callable[..., float]
) -> None:
    broken = Broken(Foreign())

    async def work() -> None:
        kept_in = make(broken)
        assert await kept_in.far(KEY) is None
        assert await kept_in.far(KEY) is None

    run(work())
    assert (broken.asked, counted("corrupt"), counted("store_errors")) == (2, 2, 0)


def test_a_stale_entry_is_a_miss(
    make: Callable[..., Tiers], run: Run, counted: Callable[..., float], kept: Callable[..., Kept]
) -> None:
    async def work() -> None:
        kept_in = make(Broken(found=kept(seconds=-1)))
        kept_in.memory.hold(KEY, kept(seconds=-1))
        assert kept_in.near(KEY) is None
        assert await kept_in.far(KEY) is None
        assert len(kept_in.memory) == 0

    run(work())
    assert counted("stale") == 2


def test_what_the_store_has_is_in_memory_next_time(
    make: Callable[..., Tiers], run: Run, kept: Callable[..., Kept]
) -> None:
    broken = Broken(found=kept())

    async def work() -> Kept | None:
        kept_in = make(broken)
        await kept_in.far(KEY)
        return kept_in.near(KEY)

    found = run(work())
    assert found is not None
    assert found.body == kept().body


def test_writes_that_hang_are_bounded(
    make: Callable[..., Tiers], run: Run, counted: Callable[..., float], kept: Callable[..., Kept]
) -> None:
    async def work() -> None:
        kept_in = make(Broken(hangs=True))
        for _ in range(tiers.WRITES + 5):
            kept_in.put(KEY, kept())
        await kept_in.close()

    run(work())
    assert counted("dropped_writes") == 5


def test_a_redis_that_is_gone_is_a_miss(
    make: Callable[..., Tiers], run: Run, counted: Callable[..., float], kept: Callable[..., Kept]
) -> None:
    async def work() -> None:
        kept_in = make(RedisStore("redis://127.0.0.1:1/0", patience=0.05))
        assert await kept_in.far(KEY) is None
        kept_in.put(KEY, kept())
        assert kept_in.near(KEY) is not None
        await kept_in.close()

    run(work())
    assert counted("store_errors") == 1
