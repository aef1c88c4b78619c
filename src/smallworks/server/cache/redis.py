"""The store in Redis: shared by servers on several machines.

Entries end by themselves; which go first when Redis is full is its own `maxmemory-policy`.
"""

from __future__ import annotations

from typing import Any

from smallworks.errors import MissingExtra, UserError
from smallworks.server.cache.entry import Kept, pack, unpack

PREFIX = b"smallworks:cache:"
CONNECTIONS = 32


class RedisStore:
    """Every call ends within `patience` seconds, answered or not. Knows no back-off: tiers.py does."""

    def __init__(self, url: str, patience: float = 0.1, prefix: bytes = PREFIX) -> None:
        """Connects to nothing yet. Raises MissingExtra, or UserError for what is no URL of Redis."""
        try:
            from redis.asyncio import BlockingConnectionPool
            from redis.asyncio import Redis as Client
            from redis.asyncio.retry import Retry
            from redis.backoff import NoBackoff
        except ImportError as error:
            raise MissingExtra("redis", extra="redis", wanted_for="A response cache in Redis") from error
        try:
            pool: Any = BlockingConnectionPool.from_url(
                url,
                max_connections=CONNECTIONS,
                timeout=patience,
                socket_timeout=patience,
                socket_connect_timeout=patience,
                retry=Retry(NoBackoff(), 0),
            )
        except ValueError as error:
            # The URL may hold a password: it is not shown.
            raise UserError("The URL of Redis cannot be read.", fix="Write redis://HOST:6379/0.") from error
        self._prefix = prefix
        self._client: Any = Client.from_pool(pool)

    async def get(self, key: bytes) -> Kept | None:
        written = await self._client.get(self._prefix + key)
        return None if written is None else unpack(key, written)

    async def put(self, key: bytes, kept: Kept) -> None:
        if (left := int(1000 * kept.left())) > 0:
            await self._client.set(self._prefix + key, pack(key, kept), px=left)

    async def close(self) -> None:
        await self._client.aclose()
