"""What one key may do just now: requests and tokens a minute, answers at once, tokens a month.

A minute's limit is a bucket that refills steadily: a burst of a whole minute's worth, then as fast as it
refills. A request takes the most that it may use, and gives the rest back when its answer has ended.
Minutes and answers at once are counted in this process, months in the key file. Knows no HTTP routes.

The `limits` library has neither a bucket nor a way to give back, hence thirty lines of our own.
"""

from __future__ import annotations

import calendar
import logging
import sqlite3
import time
from threading import Lock

from smallworks.server.failures import InsufficientQuota, RateLimitExceeded, Unavailable
from smallworks.server.keys import Key, KeyFile, this_month

LOG = logging.getLogger("smallworks.server")
Header = tuple[bytes, bytes]


class Bucket:
    """`size` tokens, refilled at `size` a minute. It may be overdrawn, and then refills for longer."""

    def __init__(self, size: int, now: float) -> None:
        self.size = size
        self._level, self._at = float(size), now

    def level(self, now: float) -> float:
        self._level = min(self.size, self._level + (now - self._at) * self.size / 60)
        self._at = now
        return self._level

    def wait(self, amount: float, now: float) -> float:
        """Seconds until `amount` may be taken; a larger amount than fits in may go when it is full."""
        return max(0.0, (min(amount, self.size) - self.level(now)) * 60 / self.size)

    def take(self, amount: float, now: float) -> None:
        """Negative amounts are given back."""
        self._level = min(self.size, self.level(now) - amount)


class Allowance:
    """Of one key, for as long as the server runs. Safe to share between threads."""

    def __init__(self, key: Key, file: KeyFile) -> None:
        now = time.monotonic()
        self.key, self.file = key, file
        self._lock = Lock()
        self._running = 0
        self._requests = Bucket(key.requests_per_minute, now) if key.requests_per_minute else None
        self._tokens = Bucket(key.tokens_per_minute, now) if key.tokens_per_minute else None

    def knock(self) -> None:
        """Count one request. Raises RateLimitExceeded when the minute has none left."""
        if self._requests is None:
            return
        with self._lock:
            now = time.monotonic()
            if seconds := self._requests.wait(1, now):
                raise self._too_fast(f"its {self.key.requests_per_minute:,} requests a minute", seconds)
            self._requests.take(1, now)

    def hold(self, tokens: int) -> Holding:
        """Set `tokens` aside for one answer; close the holding when it has ended.

        Raises RateLimitExceeded, InsufficientQuota, or Unavailable when the key file cannot be written.
        """
        with self._lock:
            now = time.monotonic()
            if self.key.at_once is not None and self._running >= self.key.at_once:
                raise self._too_fast(f"its {self.key.at_once:,} answers at once", 1)
            if self._tokens is not None and (seconds := self._tokens.wait(tokens, now)):
                raise self._too_fast(f"its {self.key.tokens_per_minute:,} tokens a minute", seconds)
            month = this_month()
            if self.key.monthly_tokens is not None:
                self._reserve(month, tokens)
            self._running += 1
            if self._tokens is not None:
                self._tokens.take(tokens, now)
            return Holding(self, month, tokens)

    def settle(self, month: str, held: int, used: int) -> None:
        """The end of an answer: what was held and not used comes back. No more is charged than was held."""
        back = held - min(used, held)
        with self._lock:
            self._running -= 1
            if self._tokens is not None:
                self._tokens.take(-back, time.monotonic())
        if back and self.key.monthly_tokens is not None:
            try:
                self.file.give_back(self.key, month, back)
            except sqlite3.Error as error:  # charged in full: the safe side of a budget
                LOG.error("key %s: %d tokens not given back: %s", self.key.id, back, error)

    def headers(self) -> list[Header]:
        """The limits of a minute as OpenAI's API tells them; none where the key has none."""
        if self._requests is None and self._tokens is None:
            return []
        with self._lock:
            now = time.monotonic()
            return [*_told(b"requests", self._requests, now), *_told(b"tokens", self._tokens, now)]

    def _reserve(self, month: str, tokens: int) -> None:
        assert self.key.monthly_tokens is not None
        try:
            if self.file.reserve(self.key, month, tokens):
                return
            left = self.key.monthly_tokens - self.file.spent(self.key, month)
        except sqlite3.Error as error:
            LOG.error("key %s: the budget cannot be written: %s", self.key.id, error)
            raise Unavailable(
                "The budget of this key cannot be written down.", fix="Ask again later, or tell the operator."
            ) from error
        raise InsufficientQuota(
            f"The key '{self.key.name}' has {max(0, left):,} of its {self.key.monthly_tokens:,} tokens this "
            f"month left, and this request may take {tokens:,}.",
            fix="Ask for fewer tokens, wait for answers under way, or for the first of next month (UTC).",
            seconds=_seconds_left(time.time()),
        )

    def _too_fast(self, what: str, seconds: float) -> RateLimitExceeded:
        return RateLimitExceeded(
            f"The key '{self.key.name}' has used up {what}.",
            fix="Ask again after the seconds in Retry-After.",
            seconds=seconds,
        )


class Holding:
    """Tokens set aside for one answer. `close` counts once, however often it is called."""

    def __init__(self, allowance: Allowance, month: str, tokens: int) -> None:
        self._allowance: Allowance | None = allowance
        self._month, self._tokens = month, tokens

    def close(self, used: int) -> None:
        allowance, self._allowance = self._allowance, None
        if allowance is not None:
            allowance.settle(self._month, self._tokens, used)


def _told(what: bytes, bucket: Bucket | None, now: float) -> list[Header]:
    if bucket is None:
        return []
    level = bucket.level(now)
    return [
        (b"x-ratelimit-limit-" + what, b"%d" % bucket.size),
        (b"x-ratelimit-remaining-" + what, b"%d" % max(0, level)),
        (b"x-ratelimit-reset-" + what, _span((bucket.size - level) * 60 / bucket.size)),
    ]


def _span(seconds: float) -> bytes:
    """As OpenAI's API writes it: 120ms, 2.5s, 6m0s."""
    if round(seconds, 3) < 1:
        return b"%dms" % round(1000 * seconds)
    minutes, rest = divmod(round(seconds, 1), 60)
    return b"%dm%ds" % (minutes, rest) if minutes else b"%gs" % round(rest, 1)


def _seconds_left(now: float) -> float:
    """Until the next month begins, in UTC."""
    today = time.gmtime(now)
    year, month = divmod(12 * today.tm_year + today.tm_mon, 12)
    return calendar.timegm((year, month + 1, 1, 0, 0, 0)) - now
