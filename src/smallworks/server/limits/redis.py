"""Limits counted in Redis: each entry is one script there (redis.lua), and a batch of them one round trip.

What an account has spent in a month is never let expire, and must not be evicted: a server that evicts any
key when its memory is full is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

from smallworks.errors import MissingExtra, UserError
from smallworks.server.limits.ledger import (
    LEASE_SECONDS,
    Entry,
    Gone,
    Granted,
    Hold,
    Knock,
    Limits,
    Note,
    Outcome,
    Refused,
    Renew,
    Settle,
    Usage,
    Which,
    until_next_month,
)

if TYPE_CHECKING:
    from redis import Redis as Client

SCRIPT = Path(__file__).with_name("redis.lua")
PARTS = ("requests", "tokens", "holds", "until", "spent")
PREFIX = "smallworks:"


class RedisLimits:
    """A Store. `clock` is for tests: the time is the server's own."""

    def __init__(
        self,
        url: str,
        *,
        patience: float = 1.0,
        prefix: str = PREFIX,
        lease: float = LEASE_SECONDS,
        clock: Callable[[], float] | None = None,
    ) -> None:
        """Connects to nothing yet. Raises MissingExtra, or UserError for an address that cannot be read."""
        try:
            import redis
        except ImportError as error:
            raise MissingExtra("redis", extra="redis", wanted_for="Redis") from error
        self._failure, self._unknown = redis.RedisError, redis.exceptions.NoScriptError
        self._prefix, self._lease, self._clock = prefix, lease, clock
        self._client: Client = _client(url, patience)
        self._script = self._client.register_script(SCRIPT.read_text(encoding="utf-8"))
        self.where = f"redis://{urlsplit(url).hostname}"
        self._checked = False

    def run(self, entries: Sequence[Entry]) -> list[Outcome]:
        try:
            if not self._checked:
                self._check()
            if not entries:
                self._client.ping()
            said = self._send(entries)
            if unknown := [at for at, each in enumerate(said) if isinstance(each, self._unknown)]:
                self._client.script_load(self._script.script)
                for at, again in zip(unknown, self._send([entries[at] for at in unknown]), strict=True):
                    said[at] = again
            if failed := [each for each in said if isinstance(each, Exception)]:
                raise failed[0]
            return [_outcome(each) for each in said]
        except (self._failure, OSError) as error:
            raise Gone(f"{self.where}: {type(error).__name__}") from error

    def usage(self) -> list[Usage]:
        try:
            found: dict[tuple[str, str], dict[str, int]] = {}
            for key in self._client.scan_iter(f"{self._prefix}{{*}}:spent", count=500):
                account = key.decode().removeprefix(self._prefix)[1:].partition("}")[0]
                for name, value in cast("dict[bytes, bytes]", self._client.hgetall(key)).items():
                    month, _, kind = name.decode().partition(":")
                    found.setdefault((account, month), {})[kind] = int(value)
        except (self._failure, OSError) as error:
            raise Gone(f"{self.where}: {type(error).__name__}") from error
        return [Usage(account=which[0], month=which[1], **said) for which, said in sorted(found.items())]

    def interrupt(self) -> None:
        """The connection has a timeout of its own."""

    def close(self) -> None:
        with suppress(self._failure, OSError):
            self._client.close()

    def _send(self, entries: Sequence[Entry]) -> list[Any]:
        with self._client.pipeline(transaction=False) as pipeline:
            for entry in entries:
                keys = [f"{self._prefix}{{{entry.account}}}:{part}" for part in PARTS]
                pipeline.evalsha(self._script.sha, len(keys), *keys, *self._told(entry))
            return pipeline.execute(raise_on_error=False)

    def _told(self, entry: Entry) -> list[str | int | float]:
        head = (repr(self._clock()) if self._clock else "", self._lease)
        match entry:
            case Knock(limits=limits):
                return ["knock", *head, *_minute(limits)]
            case Hold(limits=limits):
                most = (limits.at_once, limits.monthly_tokens, limits.monthly_micros)
                asked = (entry.id, entry.tokens, entry.micros, *map(_told, most))
                return ["hold", *head, *_minute(limits), *asked]
            case Settle(limits=limits):
                used = (entry.id, entry.tokens, entry.micros, entry.answers)
                return ["settle", *head, *_minute(limits), *used]
            case Renew():
                return ["renew", *head, entry.id]
            case Note():
                return ["note", *head, entry.tokens, entry.micros, entry.answers]

    def _check(self) -> None:
        """Raises UserError for a server that may forget what was spent."""
        told = self._client.info("memory")
        policy = str(told.get("maxmemory_policy", ""))
        if told.get("maxmemory") and policy.startswith("allkeys"):
            raise UserError(
                f"{self.where} evicts any key when its memory is full ('{policy}'), budgets too.",
                fix="Set its maxmemory-policy to noeviction or a volatile one.",
            )
        self._checked = True


def _client(url: str, patience: float) -> Client:
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    try:
        return redis.Redis.from_url(
            url,
            socket_timeout=patience,
            socket_connect_timeout=patience,
            socket_keepalive=True,
            retry=Retry(NoBackoff(), 0),
            client_name="smallworks",
        )
    except ValueError:
        raise UserError(
            "The address of Redis cannot be read.", fix="Write redis://HOST:6379/0, or rediss:// for TLS."
        ) from None


def _minute(limits: Limits) -> tuple[int | str, int | str]:
    return _told(limits.requests), _told(limits.tokens)


def _told(limit: int | None) -> int | str:
    return "" if limit is None else limit


def _outcome(said: Sequence[bytes]) -> Outcome:
    if said[0] == b"granted":
        requests, tokens = (float(each) if each else None for each in said[1:3])
        return Granted(requests, tokens)
    which = cast("Which", said[1].decode())
    seconds, left, now = map(float, said[2:5])
    if which in ("monthly_tokens", "monthly_micros"):
        return Refused(which, until_next_month(now), max(0, int(left)))
    return Refused(which, seconds)
