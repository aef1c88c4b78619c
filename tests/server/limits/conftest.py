"""Every store of limits, on a real Redis and a real PostgreSQL where they are at hand."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any

import pytest

from smallworks.server.database import PostgresDatabase, SqliteDatabase
from smallworks.server.limits.ledger import (
    LEASE_SECONDS,
    Book,
    Entry,
    Granted,
    Hold,
    Knock,
    Outcome,
    Renew,
    Settle,
    Store,
    Usage,
    month_of,
)
from smallworks.server.limits.redis import RedisLimits
from smallworks.server.limits.tables import Tables

REDIS = "redis://127.0.0.1:6379/9"
POSTGRES = "postgresql://postgres@127.0.0.1:5432/postgres"
NAMES = ("memory", "sqlite", "redis", "postgres")
Made = Callable[..., Store]


@pytest.fixture(scope="module")
def redis_prefix() -> Iterator[str]:
    """A prefix of our own in database 9."""
    redis = pytest.importorskip("redis")
    client = redis.Redis.from_url(REDIS, socket_connect_timeout=1)
    try:
        client.ping()
    except redis.RedisError:
        pytest.skip("no Redis at 127.0.0.1:6379")
    prefix = f"test-{secrets.token_hex(4)}:"
    yield prefix
    if keys := list(client.scan_iter(f"{prefix}*")):
        client.delete(*keys)
    client.close()


@pytest.fixture(scope="module")
def postgres_url() -> Iterator[str]:
    """An address whose tables stand in a schema of our own."""
    psycopg = pytest.importorskip("psycopg")
    schema = f"test_{secrets.token_hex(4)}"
    try:
        admin = psycopg.connect(POSTGRES, autocommit=True, connect_timeout=2)
    except psycopg.OperationalError:
        pytest.skip("no PostgreSQL at 127.0.0.1:5432")
    admin.execute(f"CREATE SCHEMA {schema}")
    yield f"{POSTGRES}?options=-csearch_path%3D{schema}"
    admin.execute(f"DROP SCHEMA {schema} CASCADE")
    admin.close()


class Clock:
    """The time of a store under test."""

    def __init__(self) -> None:
        self.now = 1_795_000_000.0
        self.databases: list[Any] = []

    def __call__(self) -> float:
        return self.now

    def forward(self, seconds: float) -> None:
        self.now += seconds
        for database in self.databases:
            database.clock = repr(self.now)


@dataclass(slots=True)
class Held:
    month: str
    tokens: int
    micros: int
    until: float


@dataclass(slots=True)
class Account:
    book: Book
    held: dict[str, Held] = field(default_factory=dict)
    spent: dict[str, list[int]] = field(default_factory=dict)
    """Tokens, micro-dollars and answers by month."""


class MemoryLimits:
    """In memory: what every other store is held against. Safe to share between threads; of one process."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = Lock()
        self._accounts: dict[str, Account] = {}

    def run(self, entries: Sequence[Entry]) -> list[Outcome]:
        with self._lock:
            now = self._clock()
            return [self._one(entry, now) for entry in entries]

    def usage(self) -> list[Usage]:
        with self._lock:
            return [
                Usage(account=name, month=month, tokens=tokens, micros=micros, answers=answers)
                for name, account in self._accounts.items()
                for month, (tokens, micros, answers) in account.spent.items()
            ]

    def interrupt(self) -> None:
        """Nothing here takes long."""

    def close(self) -> None:
        """Nothing is open."""

    def _one(self, entry: Entry, now: float) -> Outcome:
        account = self._accounts.get(entry.account)
        if account is None:
            account = self._accounts[entry.account] = Account(Book(now))
        match entry:
            case Knock(limits=limits):
                book = self._book(account, now)
                return book.knock(limits) or book.granted(limits)
            case Hold():
                return self._hold(account, entry, now)
            case Settle():
                return self._settle(account, entry, now)
            case Renew():
                if entry.id in account.held:
                    account.held[entry.id].until = now + LEASE_SECONDS
                return Granted()
        _add(account, month_of(now), entry.tokens, entry.micros, entry.answers)
        return Granted()

    def _book(self, account: Account, now: float) -> Book:
        """As it is now: past leases have ended."""
        account.held = {name: held for name, held in account.held.items() if held.until > now}
        book = account.book
        book.now, book.running = now, len(account.held)
        book.spent = account.spent.get(month_of(now), (0, 0))
        return book

    def _hold(self, account: Account, entry: Hold, now: float) -> Outcome:
        book = self._book(account, now)
        if refused := book.hold(entry.limits, entry.tokens, entry.micros):
            return refused
        month, until = month_of(now), now + LEASE_SECONDS
        account.held[entry.id] = Held(month, entry.tokens, entry.micros, until)
        _add(account, month, entry.tokens, entry.micros, 0)
        return book.granted(entry.limits)

    def _settle(self, account: Account, entry: Settle, now: float) -> Outcome:
        held = account.held.pop(entry.id, None)
        book = self._book(account, now)
        if held is not None:
            tokens, micros = entry.tokens - held.tokens, entry.micros - held.micros
            book.give_back(entry.limits, -tokens)
            _add(account, held.month, tokens, micros, entry.answers)
        return book.granted(entry.limits)


def _add(account: Account, month: str, tokens: int, micros: int, answers: int) -> None:
    spent = account.spent.get(month)
    if spent is None:
        spent = account.spent[month] = [0, 0, 0]
    spent[0] += tokens
    spent[1] += micros
    spent[2] += answers


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def open_store(
    request: pytest.FixtureRequest, tmp_path: Path, clock: Clock
) -> Iterator[Callable[..., Store]]:
    """Opens a store by name; twice the same name is two servers on one store."""
    opened: list[Store] = []

    def make(name: str, *, timed: bool = True) -> Store:
        if name == "memory":
            store: Store = MemoryLimits(clock)
        elif name == "redis":
            prefix = request.getfixturevalue("redis_prefix")
            store = RedisLimits(REDIS, prefix=prefix, clock=clock if timed else None)
        else:
            url = request.getfixturevalue("postgres_url") if name == "postgres" else ""
            database: Any = PostgresDatabase(url) if url else SqliteDatabase(tmp_path / "limits.sqlite")
            if timed:
                clock.databases.append(database)
                clock.forward(0)
            store = Tables(database)
        opened.append(store)
        return store

    yield make
    for store in opened:
        store.close()
