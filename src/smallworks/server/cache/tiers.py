"""Memory before a store that may be slow or gone: what fails is a miss, and is left alone for a while.

A dead store costs one request its patience, then nobody until the back-off is over. Writing never keeps an
answer waiting.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Coroutine
from typing import Any

from smallworks.server.cache.entry import Foreign, Kept
from smallworks.server.cache.meters import CacheMeters
from smallworks.server.cache.store import MemoryStore, Store

LOG = logging.getLogger("smallworks.server")
PATIENCE = 0.1
"""Seconds that a request waits for the store."""
FIRST_REST, LONGEST_REST = 1.0, 30.0
"""Seconds that a failed store is left alone, doubled each time that it fails again."""
WRITES = 256
"""Writes under way at most; further ones are dropped, and counted."""


class Tiers:
    """`near_seconds` is how long memory answers for an entry of the store behind it."""

    def __init__(
        self, memory: MemoryStore, store: Store | None, meters: CacheMeters, near_seconds: float = 60.0
    ) -> None:
        self.memory, self._store, self._meters, self._near_seconds = memory, store, meters, near_seconds
        self._rest, self._until, self._probing = 0.0, 0.0, False
        self._writes: set[asyncio.Task[None]] = set()

    def near(self, key: bytes) -> Kept | None:
        """What memory has, without a wait."""
        kept = self.memory.near(key)
        if kept is None:
            return None
        if kept.left() > 0:
            return kept
        self.memory.drop(key)
        self._meters.stale()
        return None

    async def far(self, key: bytes) -> Kept | None:
        """What the store behind memory has; None where there is none, or it fails."""
        if self._store is None or not self._worth_trying():
            return None
        try:
            kept = await asyncio.wait_for(self._store.get(key), PATIENCE)
        except Foreign:
            self._meters.corrupt()
            return None
        except Exception as error:  # whatever a store raises, the request goes on without it
            self._failed(error)
            return None
        self._well()
        if kept is None:
            return None
        if kept.left() <= 0:
            self._meters.stale()
            return None
        self.memory.hold(key, self._shortened(kept))
        return kept

    def put(self, key: bytes, kept: Kept) -> None:
        """At once in memory; in the store as soon as may be."""
        if self._store is None:
            self.memory.hold(key, kept)
            return
        self.memory.hold(key, self._shortened(kept))
        if len(self._writes) >= WRITES:
            self._meters.dropped()
        elif self._worth_trying():
            self._start(self._write(self._store, key, kept))

    async def close(self) -> None:
        """Writes under way get their patience."""
        if self._writes:
            await asyncio.wait(self._writes, timeout=10 * PATIENCE)
        if self._store is not None:
            await self._store.close()
        await self.memory.close()

    def _shortened(self, kept: Kept) -> Kept:
        """So that what another server wrote anew is seen here after a while."""
        until = min(kept.expires, time.time() + self._near_seconds)
        return Kept(kept.body, until, kept.tokens_in, kept.tokens_out)

    async def _write(self, store: Store, key: bytes, kept: Kept) -> None:
        try:
            await asyncio.wait_for(store.put(key, kept), 10 * PATIENCE)
        except Exception as error:  # the answer is out already; what cannot be kept is asked again
            self._failed(error)
        else:
            self._well()

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._writes.add(task)
        task.add_done_callback(self._writes.discard)

    def _worth_trying(self) -> bool:
        """Once the rest is over one request tries, and the others go without until it knows."""
        if not self._rest:
            return True
        now = time.monotonic()
        if now < self._until:
            return False
        self._until, self._probing = now + self._rest, True
        return True

    def _failed(self, error: Exception) -> None:
        if not self._rest:
            # Its class alone: the message may hold an address with a password.
            LOG.error("response cache: the store failed: %s", type(error).__name__)
            self._rest = FIRST_REST
        elif self._probing:  # those that were under way when it failed first tell nothing new
            self._rest = min(LONGEST_REST, 2 * self._rest)
        self._until, self._probing = time.monotonic() + self._rest, False
        self._meters.failed()

    def _well(self) -> None:
        if self._rest:
            LOG.warning("response cache: the store answers again")
        self._rest = 0.0
