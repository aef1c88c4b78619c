"""The clerk: one thread before a store, which may fail, hang, and come back."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from threading import Event

import pytest

from smallworks.server.limits import clerk as module
from smallworks.server.limits.clerk import Clerk
from smallworks.server.limits.ledger import (
    Entry,
    Gone,
    Granted,
    Hold,
    Limits,
    Outcome,
    Renew,
    Settle,
    Store,
    Usage,
)

BUDGET = Limits(monthly_tokens=100)


class Weak:
    """A store that fails, hangs, or forgets to say that it did it, as it is told."""

    def __init__(self, inner: Store) -> None:
        self._inner = inner
        self.fails = self.forgets = False
        self.batches: list[int] = []
        self.seen: list[Entry] = []
        self.hangs = Event()
        self.hangs.set()

    def run(self, entries: Sequence[Entry]) -> list[Outcome]:
        self.hangs.wait(60)
        if self.fails:
            raise Gone("unplugged")
        self.batches.append(len(entries))
        self.seen += entries
        outcomes = self._inner.run(entries)
        if self.forgets:
            raise Gone("cut off after it was done")
        return outcomes

    def interrupt(self) -> None:
        self.hangs.set()

    def usage(self) -> list[Usage]:
        return self._inner.usage()

    def close(self) -> None:
        self._inner.close()


class Told:
    def __init__(self) -> None:
        self.up: list[bool] = []
        self.settlements_lost = self.batches = 0

    def batch(self, seconds: float) -> None:
        self.batches += 1

    def gone(self, gone: bool) -> None:
        self.up.append(not gone)

    def lost(self, settlements: int) -> None:
        self.settlements_lost += settlements

    def unchecked(self) -> None:
        raise AssertionError


@pytest.fixture
def weak(open_store: Callable[..., Store]) -> Weak:
    return Weak(open_store("memory"))


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def clerk(weak: Weak, told: Told, monkeypatch: pytest.MonkeyPatch) -> Iterator[Clerk]:
    monkeypatch.setattr(module, "FIRST_WAIT", 0.02)
    monkeypatch.setattr(module, "IDLE_SECONDS", 0.05)
    clerk = Clerk(weak, watch=told, patience=20)
    clerk._wait = 0.02
    yield clerk
    weak.hangs.set()
    clerk.close()


def hold(name: str, tokens: int = 10) -> Hold:
    return Hold("key", BUDGET, name, tokens, 0)


async def until(true: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 60
    while not true() and time.monotonic() < deadline:
        await asyncio.sleep(0.01)
    return true()


def tokens(weak: Weak) -> int:
    return sum(used.tokens for used in weak.usage())


def test_what_is_asked_while_the_store_works_goes_in_one_batch(clerk: Clerk, weak: Weak) -> None:
    async def ask() -> None:
        weak.hangs.clear()
        first = asyncio.create_task(clerk.ask(hold("first")))
        await asyncio.sleep(0.02)
        others = [asyncio.create_task(clerk.ask(hold(str(n), 1))) for n in range(20)]
        await asyncio.sleep(0.02)
        weak.hangs.set()
        outcomes = await asyncio.gather(first, *others)
        assert all(isinstance(outcome, Granted) for outcome in outcomes)

    asyncio.run(ask())
    assert max(weak.batches) == 20


def test_a_store_that_is_gone_is_told_at_once_and_found_again_by_itself(
    clerk: Clerk, weak: Weak, told: Told, caplog: pytest.LogCaptureFixture
) -> None:
    async def ask() -> None:
        await clerk.ask(hold("a", 40))
        weak.fails = True
        with pytest.raises(Gone):
            await clerk.ask(hold("b"))
        asked = len(weak.batches)
        for _ in range(100):
            with pytest.raises(Gone):
                await clerk.ask(hold("c"))
        assert len(weak.batches) == asked and clerk.retry_after() >= 1
        clerk.settle(Settle("key", BUDGET, "a", 15, 0))
        weak.fails = False
        assert await until(lambda: told.up == [False, True] or told.up[-1:] == [True])
        assert await until(lambda: tokens(weak) == 15)  # what ended meanwhile was not lost
        await clerk.ask(hold("d"))

    with caplog.at_level(logging.WARNING):
        asyncio.run(ask())
    said = [record.message for record in caplog.records]
    assert said == ["the store of limits is gone: unplugged", "the store of limits is back"]


def test_a_hold_that_nobody_knows_of_is_given_back(clerk: Clerk, weak: Weak) -> None:
    async def ask() -> None:
        weak.forgets = True
        with pytest.raises(Gone):
            await clerk.ask(hold("a", 100))
        assert tokens(weak) == 100
        weak.forgets = False
        assert await until(lambda: tokens(weak) == 0)

    asyncio.run(ask())


def test_a_store_that_hangs_is_given_up_and_what_it_does_later_undone(clerk: Clerk, weak: Weak) -> None:
    async def ask() -> None:
        clerk._patience = 0.5
        weak.hangs.clear()
        asked = asyncio.create_task(clerk.ask(hold("a", 100)))
        await asyncio.sleep(0)
        clerk._patience = 0.1  # the thread may begin late, and is interrupted only after its own patience
        with pytest.raises(Gone, match="in time"):
            await asked
        assert weak.hangs.is_set()  # interrupted
        assert await until(lambda: bool(weak.batches) and tokens(weak) == 0)

    asyncio.run(ask())


def test_a_client_that_leaves_while_it_waits_holds_nothing(clerk: Clerk, weak: Weak) -> None:
    async def ask() -> None:
        weak.hangs.clear()
        asked = asyncio.create_task(clerk.ask(hold("a", 100)))
        await asyncio.sleep(0.05)
        asked.cancel()
        weak.hangs.set()
        assert await until(lambda: tokens(weak) == 0 and any(isinstance(e, Settle) for e in weak.seen))

    asyncio.run(ask())


def test_what_goes_on_is_renewed_and_what_has_ended_is_not(
    clerk: Clerk, weak: Weak, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def ask() -> None:
        await clerk.ask(hold("a"))
        await clerk.ask(hold("b"))
        clerk.settle(Settle("key", BUDGET, "a", 1, 0))
        assert await until(lambda: any(isinstance(e, Settle) for e in weak.seen))
        monkeypatch.setattr(module, "LEASE_SECONDS", 0.0)
        assert await until(lambda: any(isinstance(e, Renew) for e in weak.seen))

    asyncio.run(ask())
    assert {e.id for e in weak.seen if isinstance(e, Renew)} == {"b"}


def test_settlements_are_kept_up_to_a_bound_and_the_rest_counted(
    clerk: Clerk, weak: Weak, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "OWED", 3)

    async def ask() -> None:
        for number in range(5):
            await clerk.ask(hold(str(number)))
        weak.fails = True
        for number in range(5):
            clerk.settle(Settle("key", BUDGET, str(number), 1, 0))
        assert await until(lambda: told.settlements_lost >= 2)

    asyncio.run(ask())
    assert told.settlements_lost == 2 and len(clerk._owed) == 3
    assert {entry.id for entry in clerk._owed if isinstance(entry, Settle)} == set(clerk._running)


def test_usage_without_a_budget_is_summed_up_and_survives_a_failure(
    clerk: Clerk, weak: Weak, told: Told
) -> None:
    async def ask() -> None:
        weak.fails = True
        for _ in range(50):
            clerk.note("free", 3, 2)
        assert await until(lambda: told.up[-1:] == [False])
        weak.fails = False
        assert await until(lambda: tokens(weak) == 150)

    asyncio.run(ask())
    (used,) = weak.usage()
    assert (used.tokens, used.micros, used.answers) == (150, 100, 50)


def test_closing_settles_what_has_ended_and_then_nobody_is_served(weak: Weak, told: Told) -> None:
    clerk = Clerk(weak, watch=told)

    async def ask() -> None:
        await clerk.ask(hold("a", 80))
        clerk.settle(Settle("key", BUDGET, "a", 5, 0))
        clerk.note("free", 7, 0)
        clerk.close()
        with pytest.raises(Gone):
            await clerk.ask(hold("b"))

    asyncio.run(ask())
    assert tokens(weak) == 12
