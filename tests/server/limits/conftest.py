"""Every store of limits, on a real Redis and a real PostgreSQL where they are at hand."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from smallworks.server.database import PostgresDatabase, SqliteDatabase
from smallworks.server.limits.ledger import Store
from smallworks.server.limits.memory import MemoryLimits
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
            store: Store = MemoryLimits(clock=clock, lease=30.0)
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
