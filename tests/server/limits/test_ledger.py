"""Buckets, months and what they decide, without a store."""

from __future__ import annotations

import time

import pytest

from smallworks.server.limits.ledger import Bucket, Limits, month_of, until_next_month


def test_a_bucket_gives_a_minute_at_once_and_then_refills_steadily() -> None:
    bucket = Bucket(60, 60.0, 0.0)
    assert bucket.wait(60, 0.0) == 0
    bucket.take(60, 0.0)
    assert bucket.wait(10, 0.0) == pytest.approx(10)
    assert bucket.wait(10, 10.0) == 0
    assert bucket.refill(1000.0) == 60


def test_what_is_larger_than_a_bucket_goes_when_it_is_full_and_overdraws_it() -> None:
    bucket = Bucket(60, 60.0, 0.0)
    assert bucket.wait(100, 0.0) == 0
    bucket.take(100, 0.0)
    assert bucket.wait(100, 0.0) == pytest.approx(100)
    bucket.take(-70, 0.0)
    assert bucket.refill(0.0) == 30


def test_a_clock_that_goes_back_refills_nothing_and_takes_nothing() -> None:
    bucket = Bucket(60, 10.0, 100.0)
    assert bucket.refill(50.0) == 10
    assert bucket.refill(51.0) == pytest.approx(11)


def test_a_month_ends_on_the_first_of_the_next_one_in_utc() -> None:
    last_second = 1798761599  # 2026-12-31T23:59:59Z
    assert time.gmtime(last_second)[:6] == (2026, 12, 31, 23, 59, 59)
    assert until_next_month(last_second) == 1
    assert (month_of(last_second), month_of(last_second + 1)) == ("2026-12", "2027-01")


def test_only_some_limits_are_held_for() -> None:
    assert not Limits().holds and not Limits(requests=5).holds
    assert all(
        Limits(**{name: 1}).holds for name in ("tokens", "at_once", "monthly_tokens", "monthly_micros")
    )
