"""A key's minutes, answers at once, month and money: taken at their largest, the rest given back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from smallworks.server.allowance import Allowance, Limiter, _span
from smallworks.server.failures import InsufficientQuota, RateLimitExceeded, Unavailable
from smallworks.server.keys import KeyFile
from smallworks.server.limits.clerk import Clerk
from smallworks.server.limits.tables import Tables
from smallworks.server.meters import Meters
from smallworks.server.prices import Price

Allowed = Callable[..., Allowance]


class Counted:
    """A key file, the clerk of its months, and what they have counted."""

    def __init__(self, path: Path) -> None:
        self.file = KeyFile(path, create=True)
        self.clerk = Clerk(Tables(self.file.database.again()), watch=Meters().limits)
        self.closed, self.open = Limiter(self.clerk), Limiter(self.clerk, when_gone="open")

    def allowance(self, when_gone: str = "closed", **limits: Any) -> Allowance:
        limiter = self.open if when_gone == "open" else self.closed
        return limiter.of(self.file.add(f"key {len(self.file.all())}", **limits)[0])

    def spent(self, allowance: Allowance) -> tuple[int, int, int]:
        """Tokens, micro-dollars and answers, once the clerk has written them down."""
        self.clerk.close()
        rows = [u for u in Tables(self.file.database).usage() if u.account == allowance.key.account]
        return (rows[0].tokens, rows[0].micros, rows[0].answers) if rows else (0, 0, 0)


@pytest.fixture
def counted(tmp_path: Path) -> Iterator[Counted]:
    counted = Counted(tmp_path / "keys.sqlite")
    yield counted
    counted.clerk.close()
    counted.file.close()


@pytest.fixture
def allowed(counted: Counted) -> Allowed:
    """Makes the allowance of a new key with these limits."""
    return counted.allowance


def test_requests_of_a_minute_are_counted(allowed: Allowed) -> None:
    async def knock() -> None:
        allowance = allowed(requests_per_minute=2)
        await allowance.knock()
        await allowance.knock()
        with pytest.raises(RateLimitExceeded, match="2 requests a minute") as refusal:
            await allowance.knock()
        assert 1 <= refusal.value.seconds <= 30

    asyncio.run(knock())


def test_tokens_of_a_minute_come_back_where_they_were_not_used(allowed: Allowed) -> None:
    async def ask() -> None:
        allowance = allowed(tokens_per_minute=1000)
        first = await allowance.hold(900)
        with pytest.raises(RateLimitExceeded, match="1,000 tokens a minute"):
            await allowance.hold(900)
        first.close(40, 10)
        first.close()
        assert 950 <= int(dict(allowance.headers())[b"x-ratelimit-remaining-tokens"]) < 1000
        await allowance.hold(900)

    asyncio.run(ask())


def test_answers_at_once_are_counted_until_they_end(allowed: Allowed) -> None:
    async def ask() -> None:
        allowance = allowed(at_once=1)
        first = await allowance.hold(1)
        with pytest.raises(RateLimitExceeded, match="1 answers at once"):
            await allowance.hold(1)
        first.close(1)
        await allowance.hold(1)

    asyncio.run(ask())


def test_a_month_is_reserved_settled_and_then_refused(counted: Counted) -> None:
    async def ask() -> Allowance:
        allowance = counted.allowance(monthly_tokens=100)
        held = await allowance.hold(80)
        with pytest.raises(InsufficientQuota, match=r"has 20 of its 100 tokens .* may take 21") as no:
            await allowance.hold(21)
        assert no.value.code == "insufficient_quota" and no.value.seconds <= 31 * 24 * 3600
        held.close(20, 10)
        (await allowance.hold(70)).close(500)  # an engine that takes more than it was given
        return allowance

    assert counted.spent(asyncio.run(ask())) == (530, 0, 2)  # charged all the same


def test_money_is_counted_to_the_micro_dollar(counted: Counted) -> None:
    price = Price.of(0.15, 0.60)

    async def ask() -> Allowance:
        allowance = counted.allowance(monthly_micros=100)
        held = await allowance.hold(100, price)  # at most 60 micro-dollars
        with pytest.raises(InsufficientQuota, match=r"has \$0\.00004 of its \$0\.0001 this month"):
            await allowance.hold(100, price)
        held.close(50, 10)  # 7.5 + 6
        return allowance

    assert counted.spent(asyncio.run(ask())) == (60, 14, 1)


def test_what_a_key_without_limits_uses_is_told_and_waits_for_nobody(counted: Counted) -> None:
    allowance = counted.allowance()
    asked = allowance.hold(50)
    with pytest.raises(StopIteration) as ended:  # it never gave way to the event loop
        asked.send(None)
    ended.value.value.close(3, 4)
    assert allowance.headers() == []
    assert counted.spent(allowance) == (7, 0, 1)


def test_a_budget_that_cannot_be_looked_up_lets_nothing_through_unless_told(counted: Counted) -> None:
    async def ask() -> Allowance:
        closed, free = counted.allowance(monthly_tokens=100), counted.allowance()
        held = await closed.hold(10)
        opened = counted.allowance("open", monthly_tokens=100)
        counted.clerk._store.close()
        with pytest.raises(Unavailable) as refusal:
            await closed.hold(10)
        assert refusal.value.seconds >= 1
        held.close(1)  # nothing raised in the engine's thread
        (await free.hold(10)).close(1)
        (await opened.hold(10)).close(1)
        return closed

    assert counted.spent(asyncio.run(ask()))[0] == 10  # charged in full


def test_a_changed_key_goes_by_its_new_limits_and_what_it_had_used(counted: Counted) -> None:
    async def ask() -> None:
        allowance = counted.allowance(requests_per_minute=10)
        for _ in range(8):
            await allowance.knock()
        key = counted.file.change(allowance.key.name, requests_per_minute=2)
        later = counted.closed.of(key)
        await later.knock()
        await later.knock()
        with pytest.raises(RateLimitExceeded):
            await later.knock()

    asyncio.run(ask())


def test_headers_are_openais(allowed: Allowed) -> None:
    allowance = allowed(requests_per_minute=100, tokens_per_minute=6000)
    asyncio.run(allowance.knock())
    told: dict[bytes, Any] = dict(allowance.headers())
    assert told[b"x-ratelimit-limit-requests"] == b"100"
    assert told[b"x-ratelimit-remaining-requests"] == b"99"
    assert told[b"x-ratelimit-remaining-tokens"] == b"6000"
    assert told[b"x-ratelimit-reset-tokens"] == b"0ms"


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(0, b"0ms"), (0.12, b"120ms"), (2.54, b"2.5s"), (59.96, b"1m0s"), (0.9996, b"1s"), (361.9, b"6m1s")],
)
def test_a_span_is_written_as_openai_writes_it(seconds: float, told: bytes) -> None:
    assert _span(seconds) == told
