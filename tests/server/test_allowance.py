"""A key's minutes, its answers at once and its month: taken at their largest, and the rest given back."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from smallworks.server.allowance import Allowance, Bucket, _seconds_left, _span
from smallworks.server.failures import InsufficientQuota, RateLimitExceeded, Unavailable
from smallworks.server.keys import KeyFile, this_month


@pytest.fixture
def allowed(tmp_path: Path) -> Iterator[Callable[..., Allowance]]:
    """Makes the allowance of a new key with these limits."""
    with KeyFile(tmp_path / "keys.sqlite", create=True) as file:
        yield lambda **limits: Allowance(file.add(f"key {len(file.all())}", **limits)[0], file)


def test_a_bucket_gives_a_minute_at_once_and_then_refills_steadily() -> None:
    bucket = Bucket(60, now=0.0)
    assert bucket.wait(60, 0.0) == 0
    bucket.take(60, 0.0)
    assert bucket.wait(10, 0.0) == pytest.approx(10)
    assert bucket.wait(10, 10.0) == 0
    assert bucket.level(1000.0) == 60


def test_what_is_larger_than_a_bucket_goes_when_it_is_full_and_overdraws_it() -> None:
    bucket = Bucket(60, now=0.0)
    assert bucket.wait(100, 0.0) == 0
    bucket.take(100, 0.0)
    assert bucket.wait(100, 0.0) == pytest.approx(100)
    bucket.take(-70, 0.0)
    assert bucket.level(0.0) == 30


def test_requests_of_a_minute_are_counted(allowed: Callable[..., Allowance]) -> None:
    allowance = allowed(requests_per_minute=2)
    allowance.knock()
    allowance.knock()
    with pytest.raises(RateLimitExceeded, match="2 requests a minute") as refusal:
        allowance.knock()
    assert 1 <= refusal.value.seconds <= 30


def test_tokens_of_a_minute_come_back_where_they_were_not_used(allowed: Callable[..., Allowance]) -> None:
    allowance = allowed(tokens_per_minute=1000)
    first = allowance.hold(900)
    with pytest.raises(RateLimitExceeded, match="1,000 tokens a minute"):
        allowance.hold(900)
    first.close(used=50)
    first.close(used=0)
    assert 950 <= int(dict(allowance.headers())[b"x-ratelimit-remaining-tokens"]) < 1000
    allowance.hold(900)


def test_answers_at_once_are_counted_until_they_end(allowed: Callable[..., Allowance]) -> None:
    allowance = allowed(at_once=1)
    first = allowance.hold(1)
    with pytest.raises(RateLimitExceeded, match="1 answers at once"):
        allowance.hold(1)
    first.close(1)
    allowance.hold(1)


def test_a_month_is_reserved_settled_and_then_refused(allowed: Callable[..., Allowance]) -> None:
    allowance = allowed(monthly_tokens=100)
    held = allowance.hold(80)
    assert allowance.file.spent(allowance.key, this_month()) == 80
    with pytest.raises(InsufficientQuota, match=r"has 20 of its 100 tokens .* may take 21") as no:
        allowance.hold(21)
    assert no.value.code == "insufficient_quota" and no.value.seconds <= 31 * 24 * 3600
    held.close(used=30)
    assert allowance.file.spent(allowance.key, this_month()) == 30
    allowance.hold(70).close(used=500)  # an engine that takes more than it was given
    assert allowance.file.spent(allowance.key, this_month()) == 100


def test_a_budget_that_cannot_be_written_lets_nothing_through(allowed: Callable[..., Allowance]) -> None:
    allowance = allowed(monthly_tokens=100)
    held = allowance.hold(10)
    allowance.file.close()
    with pytest.raises(Unavailable):
        allowance.hold(10)
    held.close(used=1)  # charged in full, and nothing raised in the engine's thread


def test_headers_are_openais(allowed: Callable[..., Allowance]) -> None:
    allowance = allowed(requests_per_minute=100, tokens_per_minute=6000)
    allowance.knock()
    told: dict[bytes, Any] = dict(allowance.headers())
    assert told[b"x-ratelimit-limit-requests"] == b"100"
    assert told[b"x-ratelimit-remaining-requests"] == b"99"
    assert told[b"x-ratelimit-remaining-tokens"] == b"6000"
    assert told[b"x-ratelimit-reset-tokens"] == b"0ms"
    assert allowed().headers() == []


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(0, b"0ms"), (0.12, b"120ms"), (2.54, b"2.5s"), (59.96, b"1m0s"), (0.9996, b"1s"), (361.9, b"6m1s")],
)
def test_a_span_is_written_as_openai_writes_it(seconds: float, told: bytes) -> None:
    assert _span(seconds) == told


def test_a_month_ends_on_the_first_of_the_next_one_in_utc() -> None:
    last_second = 1798761599  # 2026-12-31T23:59:59Z
    assert time.gmtime(last_second)[:6] == (2026, 12, 31, 23, 59, 59)
    assert _seconds_left(last_second) == 1
