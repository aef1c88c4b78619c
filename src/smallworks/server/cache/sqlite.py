"""The store in one SQLite file: it outlives the server, and servers of one machine may share it."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from smallworks.errors import UserError
from smallworks.files import unwritable
from smallworks.server.cache.entry import Kept, pack, unpack

APPLICATION = 0x53575243
"""The mark in the file's header by which it is known for ours."""
SCHEMA = """
CREATE TABLE IF NOT EXISTS kept (
  key BLOB PRIMARY KEY, entry BLOB NOT NULL, size INTEGER NOT NULL, expires REAL NOT NULL, used REAL NOT NULL
);
CREATE INDEX IF NOT EXISTS by_use ON kept (used);
CREATE INDEX IF NOT EXISTS by_end ON kept (expires);
"""
PUT = "INSERT OR REPLACE INTO kept (key, entry, size, expires, used) VALUES (?, ?, ?, ?, ?)"
OLDEST = "DELETE FROM kept WHERE key IN (SELECT key FROM kept ORDER BY used LIMIT ?)"
TOUCH_SECONDS = 60.0
"""How exactly the last use of an entry is known: a write for every read would cost more than it tells."""
ROOM = 0.9
"""How full it is left when it was too full."""
BATCH = 256
"""Entries that leave at once, so that no deletion holds the file for long."""
CLOSING_SECONDS = 2.0


class SqliteStore:
    """All work is done in one thread of its own. A locked file is waited for up to `patience` seconds."""

    def __init__(
        self, path: Path, entries: int, most_bytes: int, evicted: Callable[[int], None], patience: float = 0.1
    ) -> None:
        """Raises UserError for a file that is not ours or cannot be written."""
        self._most_entries, self._most_bytes, self._evicted = entries, most_bytes, evicted
        self._file = _open(path, patience)
        self._count, self._bytes = self._counted()
        self._thread = ThreadPoolExecutor(1, "cache")

    async def get(self, key: bytes) -> Kept | None:
        written: bytes | None = await self._do(self._get, key)
        return None if written is None else unpack(key, written)

    async def put(self, key: bytes, kept: Kept) -> None:
        await self._do(self._put, key, pack(key, kept), kept.expires)

    async def close(self) -> None:
        """Work that hangs is given up, and the file with it: SQLite mends what was half-written."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._do(self._file.close), CLOSING_SECONDS)
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _do(self, work: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)

    def _get(self, key: bytes) -> bytes | None:
        row = self._file.execute("SELECT entry, used FROM kept WHERE key = ?", (key,)).fetchone()
        if row is None:
            return None
        if time.time() - row[1] > TOUCH_SECONDS:
            self._file.execute("UPDATE kept SET used = ? WHERE key = ?", (time.time(), key))
        return bytes(row[0])

    def _put(self, key: bytes, entry: bytes, expires: float) -> None:
        if len(entry) > self._most_bytes // 4:
            return
        self._file.execute(PUT, (key, entry, len(entry), expires, time.time()))
        self._count += 1
        self._bytes += len(entry)
        if self._full(1.0):
            self._make_room()

    def _make_room(self) -> None:
        """Other servers write too, and what was replaced is counted twice: the file is counted anew first."""
        self._count, self._bytes = self._counted()
        if not self._full(1.0):
            return
        before = self._count
        self._file.execute("DELETE FROM kept WHERE expires < ?", (time.time(),))
        self._count, self._bytes = self._counted()
        while self._count and self._full(ROOM):
            self._file.execute(OLDEST, (max(1, min(BATCH, self._count // 10)),))
            self._count, self._bytes = self._counted()
        self._evicted(before - self._count)

    def _full(self, share: float) -> bool:
        return self._count > share * self._most_entries or self._bytes > share * self._most_bytes

    def _counted(self) -> tuple[int, int]:
        count, size = self._file.execute("SELECT count(*), coalesce(sum(size), 0) FROM kept").fetchone()
        return count, size


def _open(path: Path, patience: float) -> sqlite3.Connection:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)  # it holds answers of every tenant
        file = sqlite3.connect(path, timeout=patience, isolation_level=None, check_same_thread=False)
    except (OSError, sqlite3.OperationalError) as error:
        raise unwritable(path, error if isinstance(error, OSError) else OSError(str(error))) from error
    try:
        with closing(file.execute("PRAGMA application_id")) as found:
            mark = found.fetchone()[0]
        if mark != APPLICATION and file.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            raise _foreign(path)
        file.execute("PRAGMA journal_mode = WAL")
        file.execute("PRAGMA synchronous = NORMAL")
        file.execute(f"PRAGMA application_id = {APPLICATION}")
        file.executescript(SCHEMA)
    except sqlite3.DatabaseError as error:
        file.close()
        if isinstance(error, sqlite3.OperationalError):
            raise unwritable(path, OSError(str(error))) from error
        raise _foreign(path) from error
    except UserError:
        file.close()
        raise
    return file


def _foreign(path: Path) -> UserError:
    return UserError(f"'{path}' is no response cache.", fix="Name another file, or move that one away.")
