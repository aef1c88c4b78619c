"""The words that every store of limits speaks, and what it decides by. Pure: knows no store and no HTTP.

A minute's limit is a bucket that refills steadily: a burst of a whole minute's worth, then as fast as it
refills. An answer takes the most that it may use and gives the rest back when it has ended: what it holds
until then has a name and a lease, so that giving back twice gives back once, and what a dead server held
does not stay at once for ever. All times are the store's own, so that clocks of servers may differ.
"""

from __future__ import annotations

import calendar
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, NamedTuple, Protocol

DAY = 24 * 60 * 60
LEASE_SECONDS = 30.0
"""How long a server that died keeps its answers at once; one that lives renews in time."""

Which = Literal["requests", "tokens", "at_once", "monthly_tokens", "monthly_micros"]


class Gone(Exception):
    """The store cannot be reached, read or written just now. Its text names no secret."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one account; None is no limit. Money is in micro-dollars."""

    requests: int | None = None
    tokens: int | None = None
    at_once: int | None = None
    monthly_tokens: int | None = None
    monthly_micros: int | None = None

    @property
    def holds(self) -> bool:
        """Whether an answer has to hold anything."""
        return (self.tokens, self.at_once, self.monthly_tokens, self.monthly_micros) != (None,) * 4


class Knock(NamedTuple):
    """One request."""

    account: str
    limits: Limits


class Hold(NamedTuple):
    """The most that one answer may use."""

    account: str
    limits: Limits
    id: str
    tokens: int
    micros: int


class Settle(NamedTuple):
    """The answer that held `id` has ended, and used this, more or less than it held.

    Nothing happens where nothing is held by that name.
    """

    account: str
    limits: Limits
    id: str
    tokens: int
    micros: int
    answers: int = 1


class Renew(NamedTuple):
    """The answer goes on, and so does its lease."""

    account: str
    id: str


class Note(NamedTuple):
    """What an account without a budget has used."""

    account: str
    tokens: int
    micros: int
    answers: int


Entry = Knock | Hold | Settle | Renew | Note


class Granted(NamedTuple):
    """`requests` and `tokens` are what is left of the minute; None where it has no limit."""

    requests: float | None = None
    tokens: float | None = None


class Refused(NamedTuple):
    """By which limit, how long to wait, and what of it is left."""

    which: Which
    seconds: float
    left: int = 0


Outcome = Granted | Refused


@dataclass(frozen=True, kw_only=True)
class Usage:
    """What one account has spent in one month, answers under way at their most."""

    account: str
    month: str
    tokens: int
    micros: int
    answers: int


class Store(Protocol):
    """Exact for all who share it. One thread at a time, but for `interrupt`. Everything raises Gone."""

    def run(self, entries: Sequence[Entry]) -> list[Outcome]:
        """One outcome for each. Whoever dies in the middle has charged too much, never too little."""
        ...

    def usage(self) -> list[Usage]: ...

    def interrupt(self) -> None:
        """End a `run` that takes too long, from another thread, where that is possible."""
        ...

    def close(self) -> None: ...


@dataclass(slots=True)
class Bucket:
    """`size` tokens, refilled at `size` a minute. It may be overdrawn, and then refills for longer."""

    size: int
    level: float
    at: float

    def sized(self, size: int) -> Bucket:
        """Itself, holding no more than `size` from now on."""
        if size != self.size or self.level > size:
            self.size, self.level = size, min(self.level, size)
        return self

    def refill(self, now: float) -> float:
        """The level at `now`. A clock that went back refills nothing."""
        if now != self.at:
            if now > self.at:
                self.level = min(self.size, self.level + (now - self.at) * self.size / 60)
            self.at = now
        return self.level

    def wait(self, amount: float, now: float) -> float:
        """Seconds until `amount` may be taken; a larger amount than fits in may go when it is full."""
        short = min(amount, self.size) - self.refill(now)
        return short * 60 / self.size if short > 0 else 0.0

    def take(self, amount: float, now: float) -> None:
        """Negative amounts are given back."""
        self.level = min(self.size, self.refill(now) - amount)


@dataclass(slots=True)
class Book:
    """One account at one moment, as a store has read it; deciding changes it.

    A bucket has the size of the entry that asks; without that limit it is left as it is.
    """

    now: float
    requests: Bucket | None = None
    tokens: Bucket | None = None
    running: int = 0
    spent: Sequence[int] = (0, 0)
    """Tokens and micro-dollars of this month."""

    def granted(self, limits: Limits) -> Granted:
        """What is left."""
        requests, tokens = self._of_requests(limits), self._of_tokens(limits)
        return Granted(
            requests.refill(self.now) if requests is not None else None,
            tokens.refill(self.now) if tokens is not None else None,
        )

    def knock(self, limits: Limits) -> Refused | None:
        """None where it is granted, and counted."""
        requests = self._of_requests(limits)
        if requests is not None:
            if seconds := requests.wait(1, self.now):
                return Refused("requests", seconds)
            requests.level -= 1
        return None

    def hold(self, limits: Limits, most_tokens: int, most_micros: int) -> Refused | None:
        """None where all of it is granted, and held."""
        bucket = self._of_tokens(limits)
        if limits.at_once is not None and self.running >= limits.at_once:
            return Refused("at_once", 1.0)
        if bucket is not None and (seconds := bucket.wait(most_tokens, self.now)):
            return Refused("tokens", seconds)
        tokens, micros = self.spent[:2]
        if (most := limits.monthly_tokens) is not None and tokens + most_tokens > most:
            return Refused("monthly_tokens", until_next_month(self.now), max(0, most - tokens))
        if (most := limits.monthly_micros) is not None and micros + most_micros > most:
            return Refused("monthly_micros", until_next_month(self.now), max(0, most - micros))
        if bucket is not None:
            bucket.level -= most_tokens
        self.running += 1
        return None

    def give_back(self, limits: Limits, tokens: int) -> None:
        """What was not used; less than nothing where more was used than held."""
        bucket = self._of_tokens(limits)
        if bucket is not None and tokens:
            bucket.take(-tokens, self.now)

    def _of_requests(self, limits: Limits) -> Bucket | None:
        if limits.requests is None:
            return None
        self.requests = self.requests or Bucket(limits.requests, limits.requests, self.now)
        return self.requests.sized(limits.requests)

    def _of_tokens(self, limits: Limits) -> Bucket | None:
        if limits.tokens is None:
            return None
        self.tokens = self.tokens or Bucket(limits.tokens, limits.tokens, self.now)
        return self.tokens.sized(limits.tokens)


def month_of(now: float) -> str:
    """The month that a budget counts by, in UTC: '2026-11'."""
    return _month(int(now // DAY))


@lru_cache(8)
def _month(day: int) -> str:
    return time.strftime("%Y-%m", time.gmtime(day * DAY))


def until_next_month(now: float) -> float:
    """Seconds until the next month begins, in UTC."""
    today = time.gmtime(now)
    year, month = divmod(12 * today.tm_year + today.tm_mon, 12)
    return calendar.timegm((year, month + 1, 1, 0, 0, 0)) - now
