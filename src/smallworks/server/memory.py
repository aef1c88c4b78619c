"""Which bundles are in memory, within a budget of bytes: the one that was asked least lately makes room.

One bundle with answers under way never goes. Bundles are loaded one after another, so that what each took can
be measured. Lives on the event loop; loading and closing happen in threads. Knows no request.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from typing import Literal, Protocol

from pydantic import Field, ValidationInfo, field_validator

from smallworks.engines.predictor import Predictor
from smallworks.errors import SmallworksError
from smallworks.server.failures import NotLoaded
from smallworks.server.meters import Meters
from smallworks.server.section import Section

LOG = logging.getLogger("smallworks.server")
UNITS = {"": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
UNITS |= {"KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}
SIZE = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)\s*")
WAIT = 30.0
"""Seconds that a bundle waits for those with answers under way to make room."""
LOOK = 0.05


class RoomConfig(Section):
    """[room] of serve.toml: when bundles are loaded, and how much memory they may hold together."""

    load: Literal["start", "demand"] = Field(default="start", examples=["demand"])
    memory: str | None = Field(default=None, examples=["4GB"])

    @field_validator("memory")
    @classmethod
    def _is_size(cls, memory: str | None, info: ValidationInfo) -> str | None:
        if memory is not None and not size(memory):
            raise ValueError("it should be a size such as 4GB or 512MiB")
        if memory is not None and info.data.get("load") != "demand":
            raise ValueError('it bounds what is loaded on demand; write load = "demand" as well')
        return memory

    @property
    def budget(self) -> int | None:
        """Bytes, None for no limit."""
        return size(self.memory) if self.memory else None

    def check(self) -> str:
        return f"load {self.load}, memory {self.memory or 'unlimited'}"


def size(text: str) -> int:
    """Bytes of a size such as 4GB or 512MiB; 0 for what is none."""
    found = SIZE.fullmatch(text)
    return int(float(found[1]) * UNITS.get(found[2].upper(), 0)) if found else 0


class Shared(Protocol):
    """What several bundles share: in memory while one of them is, and counted once."""

    name: str
    bytes: int


class Loads(Protocol):
    """A bundle that can be brought into memory and out of it again."""

    bytes: int
    """Its own, beside what it shares."""
    base: Shared | None
    used: float
    """When it was last wanted, by time.monotonic()."""

    @property
    def name(self) -> str: ...

    def idle(self) -> bool: ...

    def open(self) -> Predictor: ...

    def drop(self) -> Predictor | None:
        """What is to be closed; nobody finds it any more."""
        ...


class MemoryBudget:
    """`budget` is bytes of all bundles together; None: what the machine has."""

    def __init__(self, budget: int | None, meters: Meters) -> None:
        self._budget, self._meters = budget, meters
        self._lock = asyncio.Lock()
        self._inside: list[Loads] = []

    async def load(self, bundle: Loads) -> Predictor:
        """The loaded bundle, which then counts. Raises NotLoaded for want of room, or what loading raised."""
        async with self._lock:
            base = bundle.base if self._comes_along(bundle) else None
            await self._clear(bundle)
            before = resident()
            predictor = await asyncio.to_thread(bundle.open)
            grown = base or bundle
            # Pages that a bundle before left to the process are taken again unseen: hence the half.
            grown.bytes = max(resident() - before, grown.bytes // 2)
            try:
                await self._clear(bundle, loaded=True)
            except SmallworksError:
                await asyncio.to_thread(predictor.close)
                raise
            self._inside.append(bundle)
            self._meters.loads.labels(bundle.name, "loaded").inc()
            self._meters.loaded.labels(bundle.name).set(bundle.bytes)
            if base:
                self._meters.loaded.labels(base.name).set(base.bytes)
            return predictor

    def forget(self, bundle: Loads) -> None:
        """It is somebody else's to close."""
        if bundle in self._inside:
            self._inside.remove(bundle)
            held = sum(other.bytes for other in self._inside if other.name == bundle.name)
            self._meters.loaded.labels(bundle.name).set(held)
            if bundle.base and self._comes_along(bundle):
                self._meters.loaded.labels(bundle.base.name).set(0)

    async def _clear(self, bundle: Loads, *, loaded: bool = False) -> None:
        """Make room for a bundle; to one that is `loaded` the machine has given its bytes already.

        Those that share a base go together, since only the last of them frees it; those that share the
        bundle's own stay.
        """
        needed = bundle.bytes + (bundle.base.bytes if bundle.base and self._comes_along(bundle) else 0)
        others = [other for other in self._inside if other not in self._kin(bundle)]
        until = time.monotonic() + WAIT
        while (short := self._short(needed, loaded=loaded)) > 0:
            others = [other for other in others if other in self._inside]
            idle = [other for other in others if all(each.idle() for each in self._kin(other))]
            if idle:
                await self._evict(min(idle, key=self._used))
                continue
            if not others or time.monotonic() > until:
                raise self._no_room(bundle, needed, short)
            await asyncio.sleep(LOOK)

    def _kin(self, bundle: Loads) -> list[Loads]:
        """It, and those in memory that share its base."""
        shares = [other for other in self._inside if bundle.base and other.base is bundle.base]
        return shares if bundle in shares else [bundle, *shares]

    def _comes_along(self, bundle: Loads) -> bool:
        """Whether a bundle that is not in memory would bring its base, which no other has brought."""
        return bundle.base is not None and self._kin(bundle) == [bundle]

    def _used(self, bundle: Loads) -> float:
        return max(each.used for each in self._kin(bundle))

    def _short(self, needed: int, *, loaded: bool) -> int:
        """Bytes that are lacking."""
        bases = {id(other.base): other.base.bytes for other in self._inside if other.base}
        held = sum(other.bytes for other in self._inside) + sum(bases.values())
        over = 0 if self._budget is None else held + needed - self._budget
        return max(over, 0 if loaded else needed - available())

    async def _evict(self, bundle: Loads) -> None:
        self.forget(bundle)
        self._meters.evictions.labels(bundle.name).inc()
        if predictor := bundle.drop():
            await asyncio.to_thread(predictor.close)

    def _no_room(self, bundle: Loads, needed: int, short: int) -> NotLoaded:
        busy = ", ".join(f"'{other.name}' ({other.bytes / 1e6:,.0f} MB)" for other in self._inside)
        limit = f"of a budget of {self._budget / 1e6:,.0f} MB" if self._budget else "of this machine's memory"
        LOG.error(
            "'%s' takes %.0f MB %s, and %.0f MB are lacking; answers are under way at: %s.",
            *(bundle.name, needed / 1e6, limit, short / 1e6, busy or "none"),
        )
        return NotLoaded(
            f"There is not memory enough for '{bundle.name}' just now.",
            fix="Ask again later. The server's log has the sizes.",
            seconds=1.0,
        )


def resident() -> int:
    """Bytes of memory that this process holds."""
    import psutil

    return int(psutil.Process().memory_info().rss)


def available() -> int:
    """Bytes that this machine can give without swapping."""
    import psutil

    return int(psutil.virtual_memory().available)
