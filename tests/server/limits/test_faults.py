"""Stores that are locked, full, cut off or killed: bounded, told, recovered, and never a token over."""

from __future__ import annotations

import shutil
import socket
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from smallworks.server import KeyFile, background, create_app
from smallworks.server.database import PostgresDatabase, SqliteDatabase
from smallworks.server.keys import Keys
from smallworks.server.limits.ledger import Gone, Granted, Hold, Knock, Limits, Refused, Store
from smallworks.server.limits.section import LimitsConfig
from smallworks.server.limits.tables import Tables

GENERATE = {"model": "echo", "input_text": "hi"}
USED = 2 * len("Say it.\n\nhi")


def hold(name: str, **limits: int) -> Hold:
    return Hold("key", Limits(**limits), name, 10, 0)


class RedisServer:
    """A Redis of our own, which may be killed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.start()

    def start(self) -> None:
        binary = shutil.which("redis-server")
        if not binary:
            pytest.skip("no redis-server on the PATH")
        options = ["--port", str(self.port), "--dir", str(self._folder), "--appendonly", "yes", "--save", ""]
        self._process = subprocess.Popen([binary, *options], stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                time.sleep(0.02)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(20)


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path)
    yield server
    server.kill()


def comes_to(client: httpx2.Client, status: int) -> httpx2.Response:
    """The reply with that status, asked for up to 20 seconds."""
    deadline = time.monotonic() + 60
    while (reply := client.post("/generate", json=GENERATE)).status_code != status:
        assert time.monotonic() < deadline, reply.text
        time.sleep(0.05)
    return reply


@pytest.fixture
def keys(tmp_path: Path) -> Iterator[KeyFile]:
    with KeyFile(tmp_path / "keys.sqlite", create=True) as file:
        yield file


@pytest.mark.parametrize("when_gone", ["closed", "open"])
def test_a_redis_that_is_killed_and_comes_back(
    own_redis: RedisServer, keys: KeyFile, writing: Callable[..., Any], when_gone: str
) -> None:
    _, text = keys.add("limited", monthly_tokens=10_000, scopes=("answers", "metrics"))
    _, free_text = keys.add("free")
    config = LimitsConfig(store=f"redis://127.0.0.1:{own_redis.port}/0", when_gone=when_gone)
    app = create_app({"echo": writing()}, default="echo", keys=keys, limits=config)
    with (
        background(app) as url,
        httpx2.Client(base_url=url, headers={"authorization": f"Bearer {text}"}, timeout=20) as limited,
    ):
        comes_to(limited, 200)
        own_redis.kill()
        if when_gone == "closed":
            refused = comes_to(limited, 503)
            assert refused.json()["error"]["code"] == "unavailable"
            assert 1 <= int(refused.headers["retry-after"]) <= 5
            free = httpx2.post(
                f"{url}/generate", json=GENERATE, headers={"authorization": f"Bearer {free_text}"}
            )
            assert free.status_code == 200
        else:
            assert limited.post("/generate", json=GENERATE).status_code == 200
        metrics = limited.get("/metrics").text
        assert "smallworks_limit_store_up 0.0" in metrics
        assert ("smallworks_limit_store_unchecked_total 1.0" in metrics) == (when_gone == "open")
        own_redis.start()
        comes_to(limited, 200)
        deadline = time.monotonic() + 60
        while "smallworks_limit_store_up 1.0" not in limited.get("/metrics").text:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_a_connection_to_postgres_that_is_cut_is_made_again(postgres_url: str) -> None:
    import psycopg

    database = PostgresDatabase(postgres_url)
    store = Tables(database)
    assert isinstance(store.run([hold("a", monthly_tokens=100)])[0], Granted)
    assert database._open
    with psycopg.connect(postgres_url, autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s)", (database._open.info.backend_pid,))
    with pytest.raises(Gone) as gone:
        store.run([hold("b", monthly_tokens=100)])
    assert "postgres@" not in str(gone.value)
    assert isinstance(store.run([hold("c", monthly_tokens=20)])[0], Granted)
    assert isinstance(store.run([hold("d", monthly_tokens=20)])[0], Refused)
    store.close()


def test_a_row_that_somebody_else_holds_is_waited_for_only_so_long(postgres_url: str) -> None:
    import psycopg

    store = Tables(PostgresDatabase(postgres_url, patience=0.2))
    store.run([Knock("held", Limits(requests=5))])
    with psycopg.connect(postgres_url) as other:
        other.execute("SELECT * FROM counts WHERE account = 'held' FOR UPDATE")
        started = time.monotonic()
        with pytest.raises(Gone):
            store.run([Knock("held", Limits(requests=5))])
        assert time.monotonic() - started < 10
    assert store.run([Knock("held", Limits(requests=5))]) == [Granted(pytest.approx(3, abs=0.5))]
    store.close()


def test_a_locked_sqlite_file_is_told_and_does_not_stop_other_keys(
    keys: KeyFile, writing: Callable[..., Any]
) -> None:
    _, text = keys.add("limited", monthly_tokens=10_000)
    _, free = keys.add("free")
    app = create_app({"echo": writing()}, default="echo", keys=keys, limits=LimitsConfig(patience=0.2))
    with (
        background(app) as url,
        httpx2.Client(base_url=url, headers={"authorization": f"Bearer {text}"}, timeout=20) as limited,
    ):
        comes_to(limited, 200)
        other = sqlite3.connect(keys.path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        assert limited.post("/generate", json=GENERATE).status_code == 503
        reply = httpx2.post(f"{url}/generate", json=GENERATE, headers={"authorization": f"Bearer {free}"})
        assert reply.status_code == 200
        other.execute("ROLLBACK")
        other.close()
        comes_to(limited, 200)


def test_a_full_disk_refuses_and_charges_nothing(tmp_path: Path) -> None:
    database = SqliteDatabase(tmp_path / "limits.sqlite")
    store = Tables(database)
    pages = database.read("PRAGMA page_count")[0][0]
    database.read(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(Gone, match="full"):
        for number in range(500):
            store.run([Hold(f"key {number}", Limits(monthly_tokens=100), str(number), 10, 0)])
    spent = {used.account: used.tokens for used in store.usage()}
    database.read("PRAGMA max_page_count = 100000")
    assert isinstance(store.run([hold("after", monthly_tokens=100)])[0], Granted)
    assert all(tokens == 10 for tokens in spent.values())
    store.close()


@pytest.mark.parametrize("name", ["redis", "postgres"])
def test_a_server_whose_clock_runs_ahead_refills_nothing(
    name: str, open_store: Callable[..., Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, limits = open_store(name, timed=False), Limits(requests=1, monthly_tokens=10)
    key = f"skewed {name}"
    assert isinstance(store.run([Knock(key, limits)])[0], Granted)
    assert isinstance(store.run([Hold(key, limits, key, 10, 0)])[0], Granted)
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 90 * 24 * 3600)
    ahead = open_store(name, timed=False)
    assert isinstance(ahead.run([Knock(key, limits)])[0], Refused)
    assert isinstance(ahead.run([Hold(key, limits, f"{key} 2", 1, 0)])[0], Refused)


def test_keys_in_postgres_are_shared_and_a_cut_connection_is_made_again(postgres_url: str) -> None:
    import psycopg

    with Keys(PostgresDatabase(postgres_url)) as ours, Keys(PostgresDatabase(postgres_url)) as theirs:
        key, text = ours.add("shared", monthly_tokens=5)
        theirs.look_ahead()
        assert theirs.recognise(text) == key
        assert isinstance(theirs.database, PostgresDatabase) and theirs.database._open
        with psycopg.connect(postgres_url, autocommit=True) as other:
            other.execute("SELECT pg_terminate_backend(%s)", (theirs.database._open.info.backend_pid,))
        ours.revoke("shared")
        deadline = time.monotonic() + 60
        while theirs.recognise(text) is not None:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert [deed.what for deed in theirs.history()] == ["add", "revoke"]
