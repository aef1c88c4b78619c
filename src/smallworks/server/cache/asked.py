"""A request that the host is asked for: what is kept comes of it, and whoever waits is never left waiting."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from smallworks.server.cache.entry import Kept
from smallworks.server.cache.flight import Flights
from smallworks.server.cache.likeness import AskedText
from smallworks.server.cache.replay import Whole
from smallworks.server.hosts import Events, Said
from smallworks.server.prices import FREE, Price
from smallworks.server.usage import without_usage
from smallworks.server.visit import Visit


@dataclass(slots=True, kw_only=True)
class Asked:
    """`leads` while others wait for it. `expected` is a near hit that the host's answer is compared with."""

    key: bytes
    visit: Visit
    flights: Flights
    price: Price = FREE
    leads: bool = False
    text: AskedText | None = None
    expected: Kept | None = None

    def land(self, kept: Kept) -> None:
        if self.leads:
            self.leads = False
            self.flights.land(self.key, kept)

    def close(self) -> None:
        """The end in every case: what has not landed is the next one's to ask."""
        if self.leads:
            self.leads = False
            self.flights.fail(self.key)


class Recorder:
    """A stream on its way out, put together for the cache. `keep` gets the answer when it has ended well.

    The host is always asked for the usage, which a kept answer tells; whoever did not ask does not see it.
    """

    def __init__(
        self,
        events: Events,
        asked: Asked,
        whole: Whole,
        keep: Callable[[Asked, Said], Awaitable[Any]],
        *,
        usage: bool,
    ) -> None:
        self._events, self._asked, self._whole, self._keep = events, asked, whole, keep
        self._usage = usage
        self._ended = False

    async def take(self) -> list[Said]:
        told: list[Said] = []
        while not told and not self._ended:
            batch = await self._events.take()
            if not batch:
                await self._end()
                return []
            for event in batch:
                self._whole.add(event)
            told = batch if self._usage else [kept for event in batch if (kept := without_usage(event))]
        return told

    def close(self) -> None:
        self._events.close()
        self._asked.close()

    async def _end(self) -> None:
        self._ended = True  # guards take once more from a stream that has ended
        answer = self._whole.answer()
        if answer is not None:
            await self._keep(self._asked, answer)
        self._asked.close()
