"""What counting a key's limits adds to a request, by where they are counted.

Measured: in one process and one event loop, a request's share of the limits, which is its knock, its hold
and the end of its answer, one after another (p50) and 32 at once (time over requests), for a key without
limits; with limits of a minute, counted in the process; with a month's budget in the key file; and with
all of them in a shared SQLite file, in Redis and in PostgreSQL. Against: one bare INCR of redis-py's
asyncio client in the same run. A store that is not at hand is left out.
Not covered: the network between machines; other work of the event loop.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.budget_race import PREFIX, REDIS, _postgres, _redis, _sqlite
from benchmarks.claim import Finding, Say
from benchmarks.timing import median

UNIT = "µs p50 a request, limits of a minute in the process"
GOAL = "no limits ≤ 1/10 of a bare Redis round trip, limits of a minute ≤ 1/2 of one"
ROUNDS, AT_ONCE = 300, 32
MINUTE = {"requests_per_minute": 10**9, "tokens_per_minute": 10**12, "at_once": 10**6}
MONTH = {"monthly_tokens": 10**12, "monthly_micros": 10**12}


def measure(say: Say) -> Finding:
    with tempfile.TemporaryDirectory(prefix="smallworks-") as scratch, ExitStack() as stack:
        home = Path(scratch)
        stores = {
            name: stack.enter_context(store(home))
            for name, store in {"sqlite": _sqlite, "postgres": _postgres, "redis": _redis}.items()
        }
        found = asyncio.run(_all(home, stores))
    say(f"µs p50 one by one and µs a request {AT_ONCE} at once: {found}")
    bare = found.get("bare redis INCR")
    none, minute = found["no limits"][0], found["minute in the process"][0]
    holds = bare is not None and none <= bare[0] / 10 and minute <= bare[0] / 2
    against = {"name": "one INCR of redis-py's asyncio client", "us": bare[0]} if bare else None
    return Finding(value=minute, holds=holds, against=against, details=found)


async def _all(home: Path, stores: dict[str, str | None]) -> dict[str, list[float]]:
    from smallworks.server.allowance import Limiter
    from smallworks.server.keys import KeyFile
    from smallworks.server.limits.clerk import Clerk
    from smallworks.server.limits.section import open_store
    from smallworks.server.limits.tables import Tables
    from smallworks.server.meters import Meters

    found = {}
    with KeyFile(home / "keys.sqlite", create=True) as keys:
        watch = Meters().limits
        own = Limiter(Clerk(Tables(keys.database.again()), watch=watch, patience=30))
        for name, limits in {
            "no limits": {},
            "minute in the process": MINUTE,
            "month in the key file": MONTH,
        }.items():
            found[name] = await _timed(_request(own.of(keys.add(name, **limits)[0])))
        own.close()
        for name, store in stores.items():
            if store is None:
                continue
            clerk = Clerk(open_store(store, prefix=PREFIX), watch=watch, patience=30)
            limiter = Limiter(clerk, shared=True)
            found[f"all in {name}"] = await _timed(_request(limiter.of(keys.add(name, **MINUTE, **MONTH)[0])))
            limiter.close()
    if stores["redis"]:
        found["bare redis INCR"] = await _bare()
    return found


def _request(allowance: Any) -> Callable[[], Awaitable[None]]:
    async def request() -> None:
        await allowance.knock()
        holding = await allowance.hold(200)
        holding.close(60, 40)

    return request


async def _bare() -> list[float]:
    from redis.asyncio import Redis

    client = Redis.from_url(REDIS)
    found = await _timed(lambda: client.incr(f"{PREFIX}bare"))
    await client.aclose()
    return found


async def _timed(request: Callable[[], Awaitable[Any]]) -> list[float]:
    """Microseconds: the median one by one, and of each of many at once."""
    taken = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        await request()
        taken.append(1e6 * (time.perf_counter() - started))

    async def many() -> None:
        for _ in range(ROUNDS // AT_ONCE):
            await request()

    started = time.perf_counter()
    await asyncio.gather(*(many() for _ in range(AT_ONCE)))
    each = 1e6 * (time.perf_counter() - started) / (AT_ONCE * (ROUNDS // AT_ONCE))
    return [round(median(taken[ROUNDS // 10 :]), 1), round(each, 1)]
