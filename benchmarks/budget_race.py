"""However many servers share a budget, 64 clients cannot overspend it, and can use nearly all of it.

Measured: three `smallworks serve` processes of the fake engine over one store of limits: an SQLite file,
PostgreSQL, Redis, one after another. A key has tokens for 100 answers this month; 64 clients with it ask all
three servers until none of them gets another answer. Then the same with a second key, and one server is
killed (SIGKILL) when about half is spent. A token over is one that was answered beyond the budget, by what
the answers say that they used; what the store says is charged is compared with it.
A store that is not at hand is left out, and said to be. No peer: the limit is absolute.
Not covered: servers on several machines, a store that fails in the middle (the tests do), answers at once
that a dead server held (they come back with its lease, which the tests measure).
"""

from __future__ import annotations

import json
import secrets
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from threading import Barrier, Lock
from typing import Any

from benchmarks.claim import Finding, Say
from benchmarks.command import SMALLWORKS
from benchmarks.served import Process, fake_bundle, running

UNIT = "tokens over the budget"
GOAL = "0 over on every store, also when a server is killed; ≥ 95 % of the budget usable"
CLIENTS, SERVERS, ANSWERS = 64, 3, 100
USABLE = 0.95
REDIS = "redis://127.0.0.1:6379/9"
POSTGRES = "postgresql://postgres@127.0.0.1:5432/postgres"
BODY = {"messages": [{"role": "user", "content": "How are you?"}], "max_tokens": 16}
QUIET_SECONDS = 3.0
"""A race is over when no client has got an answer for so long."""


class Race:
    """What the clients of one key got."""

    def __init__(self) -> None:
        self._lock = Lock()
        self.used = self.answers = self.failed = 0
        self._last = time.monotonic()

    def got(self, tokens: int) -> None:
        with self._lock:
            self.used += tokens
            self.answers += 1
            self._last = time.monotonic()

    def lost(self) -> None:
        with self._lock:
            self.failed += 1

    def quiet(self) -> bool:
        return time.monotonic() - self._last > QUIET_SECONDS


def measure(say: Say) -> Finding:
    details: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="smallworks-") as scratch:
        home = Path(scratch)
        bundle = fake_bundle(home)
        for name, store in {"sqlite": _sqlite, "postgres": _postgres, "redis": _redis}.items():
            with store(home) as told:
                if told is None:
                    details[name] = {"skipped": f"no {name} at hand"}
                else:
                    details[name] = _store(home / name, bundle, told)
            say(f"{name}: {details[name]}")
    done = [race for found in details.values() if "skipped" not in found for race in found.values()]
    over = sum(max(0, race["used"] - race["budget"], race["charged"] - race["budget"]) for race in done)
    usable = min(found["whole"]["usable"] for found in details.values() if "whole" in found)
    honest = all(race["charged"] >= race["used"] for race in done)
    return Finding(
        value=over,
        holds=over == 0 and usable >= USABLE and honest,
        details={**details, "least usable": usable},
    )


def _store(folder: Path, bundle: Path, store: str) -> dict[str, Any]:
    """A race over one store, and one in which a server dies."""
    from smallworks.server.keys import FRESH_SECONDS, KeyFile
    from smallworks.server.limits.section import open_store

    folder.mkdir()
    counts = open_store(store, prefix=PREFIX)
    with KeyFile(folder / "keys.sqlite", create=True) as keys, ExitStack() as stack:
        stack.callback(counts.close)
        _, probe = keys.add("probe")
        servers = [stack.enter_context(_server(folder, bundle, store, n)) for n in range(SERVERS)]
        addresses = [server.address for server in servers]
        one = _ask(addresses[0], probe, Race())
        budget = ANSWERS * one
        found = {}
        for name, victim in (("whole", None), ("killed", servers[0].popen)):
            key, text = keys.add(name, monthly_tokens=budget)
            time.sleep(2 * FRESH_SECONDS)
            race = _race(addresses, text, victim, budget)
            charged = sum(used.tokens for used in counts.usage() if used.account == key.account)
            found[name] = {
                "budget": budget,
                "used": race.used,
                "charged": charged,
                "answers": race.answers,
                "usable": round(race.used / budget, 4),
                "broken off": race.failed,
            }
    return found


def _race(
    addresses: list[tuple[str, int]], text: str, victim: subprocess.Popen[str] | None, budget: int
) -> Race:
    race, together = Race(), Barrier(CLIENTS)

    def client(number: int) -> None:
        together.wait(60)
        turn = number
        while not race.quiet():
            turn += 1
            if not _ask(addresses[turn % len(addresses)], text, race):
                time.sleep(0.05)
            if victim is not None and race.used > budget / 2 and victim.poll() is None:
                victim.send_signal(signal.SIGKILL)
                victim.wait(20)

    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(client, range(CLIENTS)))
    return race


def _ask(address: tuple[str, int], text: str, race: Race) -> int:
    """Tokens of one answer; 0 where it was refused, or the server has died."""
    connection = HTTPConnection(*address, timeout=60)
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {text}"}
    try:
        connection.request("POST", "/v1/chat/completions", json.dumps(BODY), headers)
        reply = connection.getresponse()
        said = json.loads(reply.read())
    except (OSError, HTTPException, ValueError):
        race.lost()
        return 0
    finally:
        connection.close()
    if reply.status == 200:
        race.got(said["usage"]["total_tokens"])
        return int(said["usage"]["total_tokens"])
    if reply.status != 429:
        raise RuntimeError(f"{reply.status}: {said}")
    return 0


PREFIX = f"bench-{secrets.token_hex(4)}:"


def _server(folder: Path, bundle: Path, store: str, number: int) -> AbstractContextManager[Process]:
    config = folder / f"serve-{number}.toml"
    config.write_text(
        f'bundles = ["{bundle.as_posix()}"]\nport = 0\nkeys = "keys.sqlite"\n'
        f'[limits]\nstore = "{store}"\nprefix = "{PREFIX}"\npatience = 20\n'
    )
    return running([*SMALLWORKS, "serve", "--config", str(config)], folder)


@contextmanager
def _sqlite(home: Path) -> Iterator[str | None]:
    yield f"sqlite://{home / 'limits.sqlite'}"


@contextmanager
def _redis(home: Path) -> Iterator[str | None]:
    """Database 9, under a prefix of our own."""
    import redis

    client = redis.Redis.from_url(REDIS, socket_connect_timeout=2)
    try:
        client.ping()
    except redis.RedisError:
        yield None
        return
    try:
        yield REDIS
    finally:
        if keys := list(client.scan_iter(f"{PREFIX}*")):
            client.delete(*keys)
        client.close()


@contextmanager
def _postgres(home: Path) -> Iterator[str | None]:
    """A schema of our own."""
    import psycopg

    schema = f"bench_{secrets.token_hex(4)}"
    try:
        admin = psycopg.connect(POSTGRES, autocommit=True, connect_timeout=2)
    except psycopg.OperationalError:
        yield None
        return
    try:
        admin.execute(f"CREATE SCHEMA {schema}".encode())
        yield f"{POSTGRES}?options=-csearch_path%3D{schema}"
    finally:
        admin.execute(f"DROP SCHEMA {schema} CASCADE".encode())
        admin.close()
