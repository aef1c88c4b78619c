"""What one key may do just now: requests and tokens a minute, answers at once, tokens and money a month.

Limits of a minute and answers at once are counted in this process, and months by a clerk in the key file;
or all of them by the clerk, in a store that several servers share. A request takes the most that it may use,
and gives the rest back when its answer has ended. A key without limits waits for nobody.

The `limits` library has neither a bucket nor a way to give back, hence a few lines of our own.
"""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from typing import Literal

from smallworks.server.failures import InsufficientQuota, RateLimitExceeded, Unavailable
from smallworks.server.keys import Key
from smallworks.server.limits.clerk import Clerk
from smallworks.server.limits.ledger import Bucket, Entry, Gone, Granted, Hold, Knock, Limits, Refused, Settle
from smallworks.server.limits.minute import Minute
from smallworks.server.prices import FREE, Price, dollars

Header = tuple[bytes, bytes]
WhenGone = Literal["closed", "open"]
NO_LIMITS = Limits()


class Limiter:
    """Of one application: who counts what. Without a clerk nothing is counted beyond this process."""

    def __init__(
        self, clerk: Clerk | None = None, *, shared: bool = False, when_gone: WhenGone = "closed"
    ) -> None:
        """`shared`: the clerk counts minutes and answers at once as well."""
        self.clerk, self.when_gone, self._shared = clerk, when_gone, shared
        self._minutes: dict[str, Minute] = {}

    def of(self, key: Key) -> Allowance:
        minute = Limits(key.requests_per_minute, key.tokens_per_minute, key.at_once)
        month = Limits(monthly_tokens=key.monthly_tokens, monthly_micros=key.monthly_micros)
        if self._shared:
            both = Limits(
                minute.requests, minute.tokens, minute.at_once, month.monthly_tokens, month.monthly_micros
            )
            return Allowance(key, self, None, NO_LIMITS, both)
        if key.account not in self._minutes:
            self._minutes[key.account] = Minute()
        return Allowance(key, self, self._minutes[key.account], minute, month)

    def close(self) -> None:
        if self.clerk is not None:
            self.clerk.close()


class Allowance:
    """Of one key, for as long as it stays as it is. Belongs to one event loop."""

    def __init__(
        self, key: Key, limiter: Limiter, minute: Minute | None, here: Limits, there: Limits
    ) -> None:
        """`minute` counts by the limits `here`, the clerk by those `there`; None: the clerk counts all."""
        self.key, self._limiter, self._minute = key, limiter, minute
        self._here, self._there = here, there
        self._requests = _Seen.of(b"requests", key.requests_per_minute)
        self._tokens = _Seen.of(b"tokens", key.tokens_per_minute)

    async def knock(self) -> None:
        """Count one request. Raises RateLimitExceeded when the minute has none left."""
        if self._minute is not None and self._here.requests is not None:
            self._check(self._minute.knock(self._here))
        if self._there.requests is not None:
            await self._asked(Knock(self.key.account, self._there))

    async def hold(self, tokens: int, price: Price = FREE) -> Holding:
        """Set `tokens` aside for one answer; close the holding when it has ended.

        Raises RateLimitExceeded, InsufficientQuota, or Unavailable when the store is gone.
        """
        most, account = price.most(tokens), self.key.account
        holding = Holding(self, price, tokens)
        if self._minute is not None and self._here.holds:
            self._check(self._minute.hold(self._here, tokens), tokens)
            holding.held_here = True
        if self._there.holds:
            entry = Hold(account, self._there, secrets.token_hex(8), tokens, most)
            try:
                counted = await self._asked(entry, tokens, most)
            except BaseException:
                holding.close()
                raise
            holding.there = entry if counted else None
        return holding

    def headers(self) -> list[Header]:
        """The limits of a minute as OpenAI's API tells them, as this server last saw them."""
        if self._minute is not None:
            self._note(self._minute.left(self._here))
        now = time.monotonic()
        return [header for seen in (self._requests, self._tokens) if seen for header in seen.told(now)]

    def settle(self, holding: Holding, tokens: int, micros: int) -> None:
        """From any thread."""
        clerk = self._limiter.clerk
        if holding.held_here and self._minute is not None:
            self._minute.settle(self._here, holding.tokens, tokens)
        if clerk is None:
            return
        if (there := holding.there) is not None:
            answers = int(holding.answered)
            clerk.settle(Settle(there.account, there.limits, there.id, tokens, micros, answers))
            if self._there.tokens is not None and self._tokens is not None:
                self._tokens.take(tokens - there.tokens)
        elif holding.answered:
            clerk.note(self.key.account, tokens, micros)

    async def _asked(self, entry: Entry, tokens: int = 0, micros: int = 0) -> bool:
        """Whether it was counted; False where the store is gone and that lets everybody in."""
        try:
            if self._limiter.clerk is None:
                raise Gone("nobody counts")
            outcome = await self._limiter.clerk.ask(entry)
        except Gone as gone:
            clerk = self._limiter.clerk
            if clerk and self._limiter.when_gone == "open":
                clerk.passed()
                return False
            seconds = clerk.retry_after() if clerk else 1.0
            raise Unavailable(
                "What this key may still do cannot be looked up just now.",
                fix="Ask again after the seconds in Retry-After.",
                seconds=seconds,
            ) from gone
        if isinstance(outcome, Granted):
            self._note(outcome)
        else:
            self._check(outcome, tokens, micros)
        return True

    def _check(self, outcome: Refused | None, tokens: int = 0, micros: int = 0) -> None:
        """Raises what a refusal means."""
        if outcome is None:
            return
        key = self.key
        if outcome.which == "monthly_tokens":
            left = f"{outcome.left:,} of its {key.monthly_tokens:,} tokens"
            raise self._spent(left, f"{tokens:,}", "Ask for fewer tokens", outcome.seconds)
        if outcome.which == "monthly_micros":
            left = f"${dollars(outcome.left)} of its ${dollars(key.monthly_micros or 0)}"
            raise self._spent(left, f"${dollars(micros)}", "Ask for fewer tokens", outcome.seconds)
        what = {
            "requests": f"its {key.requests_per_minute or 0:,} requests a minute",
            "tokens": f"its {key.tokens_per_minute or 0:,} tokens a minute",
            "at_once": f"its {key.at_once or 0:,} answers at once",
        }[outcome.which]
        raise RateLimitExceeded(
            f"The key '{key.name}' has used up {what}.",
            fix="Ask again after the seconds in Retry-After.",
            seconds=outcome.seconds,
        )

    def _spent(self, left: str, wanted: str, first: str, seconds: float) -> InsufficientQuota:
        return InsufficientQuota(
            f"The key '{self.key.name}' has {left} this month left, and this request may take {wanted}.",
            fix=f"{first}, wait for answers under way, or for the first of next month (UTC).",
            seconds=seconds,
        )

    def _note(self, left: Granted) -> None:
        now = time.monotonic()
        if left.requests is not None and self._requests is not None:
            self._requests.see(left.requests, now)
        if left.tokens is not None and self._tokens is not None:
            self._tokens.see(left.tokens, now)


@dataclass(slots=True, eq=False)
class Holding:
    """What is set aside for one answer. `close` counts once, however often it is called."""

    _allowance: Allowance | None
    _price: Price
    tokens: int
    held_here: bool = False
    """Whether they are held in this process; `there` by the clerk."""
    there: Hold | None = None
    answered: bool = False

    def close(
        self, tokens_in: int = 0, tokens_out: int = 0, *, answered: bool = False, micros: int | None = None
    ) -> None:
        """What was used, which is charged in full, whatever was held. From any thread.

        `micros` is what it cost, by the price that it was held at unless told.
        """
        allowance, self._allowance = self._allowance, None
        if allowance is not None:
            self.answered = answered or bool(tokens_in or tokens_out)
            cost = self._price.cost(tokens_in, tokens_out) if micros is None else micros
            allowance.settle(self, tokens_in + tokens_out, cost)


class _Seen:
    """What was left of a minute's limit when this server last looked, refilled since."""

    def __init__(self, what: bytes, size: int) -> None:
        self._bucket = Bucket(size, float(size), time.monotonic())
        self._limit = b"x-ratelimit-limit-" + what, b"%d" % size
        self._remaining, self._reset = b"x-ratelimit-remaining-" + what, b"x-ratelimit-reset-" + what

    @classmethod
    def of(cls, what: bytes, size: int | None) -> _Seen | None:
        return cls(what, size) if size else None

    def see(self, level: float, now: float) -> None:
        self._bucket.level, self._bucket.at = level, now

    def take(self, amount: float) -> None:
        self._bucket.take(amount, time.monotonic())

    def told(self, now: float) -> tuple[Header, Header, Header]:
        size, level = self._bucket.size, self._bucket.refill(now)
        seconds = (size - level) * 60 / size
        return self._limit, (self._remaining, b"%d" % max(0, level)), (self._reset, _span(seconds))


def _span(seconds: float) -> bytes:
    """As OpenAI's API writes it: 120ms, 2.5s, 6m0s."""
    if (thousandths := round(1000 * seconds)) < 1000:
        return b"%dms" % thousandths
    minutes, rest = divmod(round(seconds, 1), 60)
    return b"%dm%ds" % (minutes, rest) if minutes else b"%gs" % round(rest, 1)
