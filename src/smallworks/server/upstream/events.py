"""A streamed answer of a server behind this one, as the events of ours: as they come, several at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from smallworks.server.hosts import Said
from smallworks.server.upstream import said as words
from smallworks.server.upstream.failed import Failed
from smallworks.server.upstream.sse import Sse
from smallworks.server.upstream.wire import Connection
from smallworks.server.usage import without_usage

DONE = b"[DONE]"


class Incoming:
    """Events of one connection. Raises Failed for a stream that breaks off or is none."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._sse = Sse()
        self._ended = False

    async def take(self) -> list[Said]:
        """At least one event; none at the end."""
        while not self._ended:
            data = await self._connection.take()
            if not data:
                self._ended = True
                if not self._connection.framed:  # it may have broken off: only [DONE] would tell
                    raise Failed("broken")
                return []
            blocks = self._sse.feed(data)
            if DONE in blocks:
                self._ended = True
                blocks = blocks[: blocks.index(DONE)]
            if events := [words.event(block) for block in blocks]:
                return events
        return []


@dataclass(frozen=True)
class Ending:
    """How a stream ended: `failed`, `abandoned` by its client, or well; and what it came to."""

    failed: Failed | None
    abandoned: bool
    counts: tuple[int, int] | None
    written: int


class Relayed:
    """Implements hosts.Events."""

    def __init__(
        self,
        first: list[Said],
        incoming: Incoming,
        *,
        name: str,
        usage: bool,
        on_end: Callable[[Ending], None],
        worded: Callable[[Failed], Exception],
    ) -> None:
        """`usage` says that the client asked for it. `on_end` hears once how it ended."""
        self._batch, self._incoming, self._name, self._usage = first, incoming, name, usage
        self._on_end, self._worded = on_end, worded
        self._counts: tuple[int, int] | None = None
        self._written = 0
        self._over = False

    async def take(self) -> list[Said]:
        while True:
            batch, self._batch = self._batch, []
            try:
                batch = batch or await self._incoming.take()
            except Failed as failed:
                self._end(failed=failed)
                raise self._worded(failed) from failed
            if not batch:
                self._end()
                return []
            if shown := [event for each in batch if (event := self._shown(each)) is not None]:
                return shown

    def close(self) -> None:
        self._end(abandoned=True)

    def _shown(self, event: Said) -> Said | None:
        if "usage" in event or "response" in event:
            self._counts = words.usage(event) or self._counts
        self._written += words.written(event)
        event = words.named(event, self._name)
        return event if self._usage else without_usage(event)

    def _end(self, *, failed: Failed | None = None, abandoned: bool = False) -> None:
        if not self._over:
            self._over = True
            self._on_end(Ending(failed, abandoned, self._counts, self._written))
