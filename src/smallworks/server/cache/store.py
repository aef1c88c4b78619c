"""What a store of kept answers is, and the one in memory: least recently used go first."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Protocol

from smallworks.server.cache.entry import Kept

OVERHEAD = 400
"""Bytes that an entry takes in memory beside its answer."""


class Store(Protocol):
    """Holds answers by key. May forget any of them; never gives one for another key."""

    async def get(self, key: bytes) -> Kept | None:
        """Raises Foreign for an entry that cannot be read, anything else when the store itself fails."""
        ...

    async def put(self, key: bytes, kept: Kept) -> None: ...

    async def close(self) -> None: ...


class MemoryStore:
    """Bounded by entries and by bytes; an answer larger than a quarter of the whole is not kept.

    For the event loop alone. `near` and `hold` are `get` and `put` without a wait.
    """

    def __init__(self, entries: int, most_bytes: int, evicted: Callable[[int], None]) -> None:
        self._most_entries, self._most_bytes, self._evicted = entries, most_bytes, evicted
        self._kept: OrderedDict[bytes, Kept] = OrderedDict()
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._kept)

    def near(self, key: bytes) -> Kept | None:
        kept = self._kept.get(key)
        if kept is not None:
            self._kept.move_to_end(key)
        return kept

    def hold(self, key: bytes, kept: Kept) -> None:
        self.drop(key)
        if _size(kept) > self._most_bytes // 4:
            return
        self._kept[key] = kept
        self.bytes += _size(kept)
        out = 0
        while self.bytes > self._most_bytes or len(self._kept) > self._most_entries:
            _, oldest = self._kept.popitem(last=False)
            self.bytes -= _size(oldest)
            out += 1
        if out:
            self._evicted(out)

    def drop(self, key: bytes) -> None:
        gone = self._kept.pop(key, None)
        if gone is not None:
            self.bytes -= _size(gone)

    async def get(self, key: bytes) -> Kept | None:
        return self.near(key)

    async def put(self, key: bytes, kept: Kept) -> None:
        self.hold(key, kept)

    async def close(self) -> None:
        self._kept.clear()
        self.bytes = 0


def _size(kept: Kept) -> int:
    return len(kept.body) + OVERHEAD
