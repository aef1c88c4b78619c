"""Every store gives back what was put, bounded, and nothing that it cannot vouch for."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from smallworks.errors import UserError
from smallworks.server.cache.entry import Foreign, Kept
from smallworks.server.cache.redis import RedisStore
from smallworks.server.cache.sqlite import SqliteStore
from smallworks.server.cache.store import OVERHEAD, MemoryStore

Make = Callable[..., Kept]
Run = Callable[[Any], Any]
KEYS = [number.to_bytes(32, "big") for number in range(400)]
KILLED = """
import asyncio, os, sys, time
from pathlib import Path
from smallworks.server.cache.entry import Kept
from smallworks.server.cache.sqlite import SqliteStore

async def write():
    store = SqliteStore(Path(sys.argv[1]), 1000, 10**7, print)
    for number in range(50):
        await store.put(number.to_bytes(32, "big"), Kept(b"{}", time.time() + 60))
    os._exit(9)

asyncio.run(write())
"""


def test_what_was_put_is_got(make_store: Callable[[], Any], run: Run, kept: Make) -> None:
    one, two = kept("one"), kept("two")

    async def work() -> list[Kept | None]:
        store = make_store()
        await store.put(KEYS[0], one)
        first = await store.get(KEYS[0])
        await store.put(KEYS[0], two)
        found = [first, await store.get(KEYS[0]), await store.get(KEYS[1])]
        await store.close()
        return found

    assert run(work()) == [one, two, None]


def test_many_at_once_are_not_mixed_up(make_store: Callable[[], Any], run: Run, kept: Make) -> None:
    import asyncio

    async def work() -> list[Kept | None]:
        store = make_store()
        await asyncio.gather(*(store.put(key, kept(f"{at}")) for at, key in enumerate(KEYS[:40])))
        found = await asyncio.gather(*(store.get(key) for key in KEYS[:40]))
        await store.close()
        return list(found)

    assert [found and found.body for found in run(work())] == [kept(f"{at}").body for at in range(40)]


def test_memory_lets_the_least_recently_used_go(kept: Make) -> None:
    gone: list[int] = []
    memory = MemoryStore(3, 10**6, gone.append)
    for key in KEYS[:3]:
        memory.hold(key, kept())
    memory.near(KEYS[0])
    memory.hold(KEYS[3], kept())
    assert [memory.near(key) is not None for key in KEYS[:4]] == [True, False, True, True]
    assert gone == [1]


def test_memory_is_bounded_by_bytes(kept: Make) -> None:
    size = len(kept("x" * 600).body) + OVERHEAD
    memory = MemoryStore(1000, 5 * size, lambda count: None)
    for key in KEYS[:20]:
        memory.hold(key, kept("x" * 600))
    assert (len(memory), memory.bytes) == (5, 5 * size)
    for key in KEYS[:20]:
        memory.drop(key)
    assert (len(memory), memory.bytes) == (0, 0)


def test_an_answer_that_would_push_out_all_others_is_not_kept(kept: Make) -> None:
    memory = MemoryStore(1000, 4000, lambda count: None)
    memory.hold(KEYS[0], kept("x" * 1500))
    assert memory.near(KEYS[0]) is None


def test_a_file_is_bounded_by_entries_and_bytes(tmp_path: Path, run: Run, kept: Make) -> None:
    gone: list[int] = []

    async def work() -> None:
        store = SqliteStore(tmp_path / "cache.sqlite", 100, 50_000, gone.append)
        for key in KEYS:
            await store.put(key, kept("x" * 300))
        assert await store.get(KEYS[-1]) is not None
        assert await store.get(KEYS[0]) is None
        await store.close()

    run(work())
    with sqlite3.connect(tmp_path / "cache.sqlite") as file:
        count, size = file.execute("SELECT count(*), sum(size) FROM kept").fetchone()
    assert count <= 100
    assert size <= 50_000
    assert sum(gone) == len(KEYS) - count


def test_a_file_outlives_a_server_that_was_killed(tmp_path: Path, run: Run) -> None:
    path = tmp_path / "cache.sqlite"
    done = subprocess.run([sys.executable, "-c", KILLED, str(path)], capture_output=True, timeout=60)
    assert done.returncode == 9, done.stderr

    async def work() -> list[Kept | None]:
        store = SqliteStore(path, 1000, 10**7, print)
        found = [await store.get(key) for key in KEYS[:50]]
        await store.close()
        return found

    assert all(run(work()))


def test_a_locked_file_is_an_error_soon_and_well_afterwards(tmp_path: Path, run: Run, kept: Make) -> None:
    path = tmp_path / "cache.sqlite"

    async def work() -> None:
        store = SqliteStore(path, 100, 10**6, print, patience=0.05)
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(sqlite3.OperationalError):
            await store.put(KEYS[0], kept())
        assert await store.get(KEYS[0]) is None  # readers never wait for a writer
        other.execute("ROLLBACK")
        other.close()
        await store.put(KEYS[0], kept())
        assert await store.get(KEYS[0]) is not None
        await store.close()

    run(work())


def test_a_damaged_entry_of_a_file_is_foreign(tmp_path: Path, run: Run, kept: Make) -> None:
    path = tmp_path / "cache.sqlite"

    async def work() -> None:
        store = SqliteStore(path, 100, 10**6, print)
        await store.put(KEYS[0], kept())
        with sqlite3.connect(path) as file:
            file.execute("UPDATE kept SET entry = x'00ff'")
        with pytest.raises(Foreign):
            await store.get(KEYS[0])
        await store.close()

    run(work())


@pytest.mark.parametrize("content", [b"no database, but a long text " * 100, None])
def test_a_file_that_is_not_ours_is_refused_and_left_alone(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "other.sqlite"
    if content is None:
        with sqlite3.connect(path) as file:
            file.execute("CREATE TABLE dear (x)")
    else:
        path.write_bytes(content)
    before = path.read_bytes()
    with pytest.raises(UserError, match="is no response cache"):
        SqliteStore(path, 100, 10**6, print)
    assert path.read_bytes() == before


def test_two_servers_share_a_file(tmp_path: Path, run: Run, kept: Make) -> None:
    path = tmp_path / "cache.sqlite"

    def fill(start: int) -> None:
        async def work() -> None:
            store = SqliteStore(path, 1000, 10**7, print, patience=5.0)
            for key in KEYS[start : start + 50]:
                await store.put(key, kept())
            await store.close()

        run(work())

    threads = [threading.Thread(target=fill, args=(start,)) for start in (0, 50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with sqlite3.connect(path) as file:
        assert file.execute("SELECT count(*) FROM kept").fetchone() == (100,)


def test_redis_lets_entries_end_by_themselves(redis_prefix: bytes, run: Run, kept: Make) -> None:
    import redis

    url = "redis://127.0.0.1:6379/13"

    async def work() -> None:
        store = RedisStore(url, patience=2.0, prefix=redis_prefix)
        await store.put(KEYS[0], kept(seconds=50))
        await store.put(KEYS[1], kept(seconds=-1))
        assert await store.get(KEYS[1]) is None
        await store.close()

    run(work())
    with redis.Redis.from_url(url) as client:
        assert 40_000 < client.pttl(redis_prefix + KEYS[0]) <= 50_000


def test_a_foreign_value_in_redis_is_found(redis_prefix: bytes, run: Run) -> None:
    import redis

    url = "redis://127.0.0.1:6379/13"
    with redis.Redis.from_url(url) as client:
        client.set(redis_prefix + KEYS[0], b"somebody else's")

    async def work() -> None:
        store = RedisStore(url, patience=2.0, prefix=redis_prefix)
        with pytest.raises(Foreign):
            await store.get(KEYS[0])
        await store.close()

    run(work())


def test_a_url_that_is_none_is_refused_without_being_shown() -> None:
    with pytest.raises(UserError) as caught:
        RedisStore("http://user:secret@host")
    assert "secret" not in str(caught.value)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such modes")
def test_the_file_is_its_owners_alone(tmp_path: Path, run: Callable[[Any], Any]) -> None:
    before = os.umask(0)
    try:
        run(_opened(tmp_path / "cache.sqlite"))
    finally:
        os.umask(before)
    assert (tmp_path / "cache.sqlite").stat().st_mode & 0o077 == 0


async def _opened(path: Path) -> None:
    await SqliteStore(path, 10, 1000, lambda _: None).close()
