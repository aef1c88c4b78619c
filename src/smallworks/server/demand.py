"""A bundle that is loaded when it is first asked for: one load for all who wait, proven before it answers.

A load that fails is told to everybody, its reason to the log alone, and tried again after a pause that
doubles. Knows nothing of other bundles: memory.py decides who makes room.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from starlette.requests import Request

from smallworks.bundle.manifest import Manifest
from smallworks.bundle.store import Bundle
from smallworks.engines.predictor import Predictor
from smallworks.engines.weigh import LEAST, bytes_of
from smallworks.errors import SmallworksError
from smallworks.server.described import Described
from smallworks.server.failures import Busy, NotLoaded
from smallworks.server.hosts import Events, Form, Host, Said
from smallworks.server.memory import MemoryBudget, Shared
from smallworks.server.meters import Meters
from smallworks.server.prices import Price, listed
from smallworks.server.rules import Rules
from smallworks.server.visit import Visit

LOG = logging.getLogger("smallworks.server")
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
"""Seconds before a load that failed is tried again; doubled each time."""


class Unloaded:
    """A checked bundle on disk and the way to load it; stands where a Predictor does until then.

    `base` is what it shares with other bundles: it is in memory while one of them is.
    """

    def __init__(self, bundle: Bundle, load: Callable[[Path], Predictor], base: Shared | None = None) -> None:
        self.manifest: Manifest = bundle.manifest
        self.base, self.bytes = base, LEAST if base else bytes_of(bundle)
        self._path, self._load = bundle.path, load
        self._predictor: Predictor | None = None

    def open(self) -> Predictor:
        self._predictor = self._load(self._path)
        return self._predictor

    def close(self) -> None:
        if self._predictor is not None:
            self._predictor.close()


class Answers(Host, Protocol):
    """What answers once the bundle is loaded: a room.Served."""

    def inside(self) -> int: ...

    def forget(self) -> None: ...


class OnDemand(Described):
    """A Host. `make` is what makes one of a loaded bundle."""

    def __init__(
        self,
        names: tuple[str, ...],
        unloaded: Unloaded,
        make: Callable[[Predictor], Answers],
        *,
        memory: MemoryBudget,
        rules: Rules,
        meters: Meters,
    ) -> None:
        super().__init__(names, unloaded.manifest)
        self.predictor, self.bytes, self.used = unloaded, unloaded.bytes, 0.0
        self.base = unloaded.base
        self._make, self._memory, self._rules, self._meters = make, memory, rules, meters
        self._served: Answers | None = None
        self._loaded: Predictor | None = None
        self._task: asyncio.Task[Answers] | None = None
        self._uses = self._waiting = 0
        self._pause = self._again = 0.0

    @property
    def name(self) -> str:
        return self.names[0]

    @property
    def price(self) -> Price:
        return self._meters.price(self.names, listed(self.manifest.lineage))

    def describe(self) -> Said:
        return {**super().describe(), "loaded": self._served is not None}

    def count(self, text: str) -> int | None:
        """It may not be loaded, and may go while it counts: never by its engine, so always alike."""
        return None

    async def reply(self, request: Request, form: Form, name: str, said: Said) -> Said:
        served = await self._enter(request.scope["visit"])
        try:
            return await served.reply(request, form, name, said)
        finally:
            self._leave()

    async def stream(self, request: Request, form: Form, name: str, said: Said) -> Events:
        served = await self._enter(request.scope["visit"])
        try:
            return Using(await served.stream(request, form, name, said), self._leave)
        except BaseException:
            self._leave()
            raise

    def forget(self) -> None:
        """Nobody finds it any more."""
        if self._served:
            self._served.forget()

    def close(self) -> None:
        if self._task:
            self._task.cancel()
        self._memory.forget(self)
        if self._served:
            self._served.close()

    def inside(self) -> int:
        """Requests that have come to it, those that run on though their clients left, and a load."""
        return max(self._uses, int(self._task is not None), self._served.inside() if self._served else 0)

    def idle(self) -> bool:
        return not self.inside()

    def open(self) -> Predictor:
        return self.predictor.open()

    def drop(self) -> Predictor | None:
        if self._served:
            self._served.forget()
            self._served.close()
        loaded, self._served, self._loaded = self._loaded, None, None
        return loaded

    async def _enter(self, visit: Visit) -> Answers:
        self._uses += 1
        try:
            return self._served or await self._wait(visit)
        except BaseException:
            self._leave()
            raise

    def _leave(self) -> None:
        self._uses -= 1
        self.used = time.monotonic()

    async def _wait(self, visit: Visit) -> Answers:
        """Until it is loaded, by a load that goes on whoever waits."""
        left = self._again - time.monotonic()
        if left > 0:
            raise self._refusal(left)
        if self._waiting >= max(1, self._rules.waiting):
            raise Busy(f"'{self.name}' is being loaded, and its line is full.", fix="Ask again.", seconds=1.0)
        if self._task is None:
            self._task = asyncio.create_task(self._load())
        task = self._task
        self._waiting += 1
        try:
            await asyncio.wait({task}, timeout=visit.left())
        finally:
            self._waiting -= 1
        if not task.done():
            raise visit.late(began=False)
        return task.result()

    async def _load(self) -> Answers:
        try:
            self._loaded = await self._memory.load(self)
            self._served = self._make(self._loaded)
            self._pause = 0.0
            return self._served
        except NotLoaded:
            raise
        except Exception as error:  # told to all who wait, and by NotLoaded to those who come too soon
            self._pause = min(LONGEST_PAUSE, 2 * self._pause or FIRST_PAUSE)
            self._again = time.monotonic() + self._pause
            self._meters.loads.labels(self.name, "failed").inc()
            LOG.error("'%s' could not be loaded: %s", self.name, _reason(error))
            raise self._refusal(self._pause) from error
        finally:
            self._task = None

    def _refusal(self, seconds: float) -> NotLoaded:
        return NotLoaded(
            f"'{self.name}' could not be loaded.",
            fix="It is tried again after the seconds in Retry-After. The server's log has the reason.",
            seconds=seconds,
        )


class Using:
    """A stream that keeps its bundle in memory until it is closed. Implements hosts.Events."""

    def __init__(self, events: Events, leave: Callable[[], None]) -> None:
        self._events, self._leave = events, leave
        self._closed = False

    async def take(self) -> list[Said]:
        return await self._events.take()

    def close(self) -> None:
        self._events.close()
        if not self._closed:
            self._closed = True
            self._leave()


def _reason(error: Exception) -> str:
    if isinstance(error, MemoryError):
        return "the memory did not suffice."
    return str(error) if isinstance(error, SmallworksError) else f"{type(error).__name__} in its engine."
