"""Stores to try: memory, a file, and a real Redis where one listens on loopback."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from smallworks.server.cache.entry import Kept
from smallworks.server.cache.meters import CacheMeters
from smallworks.server.cache.redis import RedisStore
from smallworks.server.cache.sqlite import SqliteStore
from smallworks.server.cache.store import MemoryStore

REDIS = "redis://127.0.0.1:6379/13"


@pytest.fixture()
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture()
def meters(registry: CollectorRegistry) -> CacheMeters:
    return CacheMeters(registry)


@pytest.fixture()
def counted(registry: CollectorRegistry) -> Callable[..., float]:
    """The value of a counter of the cache."""

    def read(name: str, **labels: str) -> float:
        return registry.get_sample_value(f"smallworks_cache_{name}_total", labels) or 0.0

    return read


@pytest.fixture()
def redis_prefix() -> Iterator[bytes]:
    """A prefix of this test's own in a Redis that answers; its entries are removed."""
    redis = pytest.importorskip("redis")
    client = redis.Redis.from_url(REDIS, socket_connect_timeout=0.5)
    try:
        client.ping()
    except redis.ConnectionError:
        pytest.skip("no Redis at 127.0.0.1:6379")
    prefix = f"smallworks:test:{secrets.token_hex(4)}:".encode()
    yield prefix
    for key in client.scan_iter(prefix + b"*"):
        client.delete(key)
    client.close()


@pytest.fixture(params=["memory", "sqlite", "redis"])
def make_store(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Any]:
    """Makes the store inside the running loop, as the server does."""
    if request.param == "memory":
        return lambda: MemoryStore(100, 1_000_000, lambda count: None)
    if request.param == "sqlite":
        return lambda: SqliteStore(tmp_path / "cache.sqlite", 100, 1_000_000, lambda count: None)
    prefix = request.getfixturevalue("redis_prefix")
    return lambda: RedisStore(REDIS, patience=2.0, prefix=prefix)


@pytest.fixture(scope="session")
def kept() -> Callable[..., Kept]:
    def make(text: str = "hello", seconds: float = 60.0) -> Kept:
        return Kept(f'{{"output":"{text}"}}'.encode(), time.time() + seconds, 5, 2)

    return make


@pytest.fixture(scope="session")
def run() -> Callable[[Any], Any]:
    """A coroutine to its end, which comes soon."""
    return lambda work: asyncio.run(asyncio.wait_for(work, 20))
