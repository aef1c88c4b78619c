"""One kept-alive HTTP/1.1 connection to a server behind this one: a request out, its answer in.

The hot path of relaying, hence by hand over asyncio; llhttp parses, strictly. An answer that is not framed,
comes unasked, or is larger than its limit ends the connection. Knows no JSON and no other server.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

import httptools

from smallworks.server.upstream.failed import Failed

MAX_HEAD = 2**16
"""Bytes of a status line and headers."""
FINISH_SECONDS = 1.0
HIGH_WATER = 2**18
"""Bytes of a streamed answer that nobody has taken yet, at which the server is left to wait."""


class Connection(asyncio.Protocol):
    """`ask`, then `head`, then `whole` or `take` until it gives nothing. One answer at a time."""

    def __init__(self, loop: asyncio.AbstractEventLoop, on_lost: Callable[[Connection], None]) -> None:
        self._loop, self._on_lost = loop, on_lost
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._waiter: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._ready: Callable[[], object] = _never
        self._finished: Callable[[Connection], None] | None = None
        self._error: Exception | None = None
        self._parts: list[bytes] = []
        self.status, self.headers = 0, dict[bytes, bytes]()
        self._size = self._held = self._head_bytes = self._limit = 0
        self.patience, self._seen = 0.0, loop.time()
        self._paused, self._keep, self.framed = False, True, True
        self.complete, self.lost, self.answers = True, False, 0

    def bound(self, limit: int) -> None:
        """The answer under way is no larger than that."""
        self._limit = min(self._limit, limit)
        if self._size > self._limit:
            self.fail(Failed("too_large"))

    def ask(self, request: bytes, *, limit: int, patience: float) -> None:
        """Send a request. `limit` is of the answer's bytes, `patience` of seconds without any.

        `patience` may be changed once the head is there.
        """
        assert self.complete and self._transport is not None, "one answer at a time"
        self._begin(limit, patience)
        self.complete = False
        self._transport.write(request)

    async def head(self) -> int:
        """The status, once the headers are there. Raises Failed."""
        if not self.status:
            await self._until(self._has_head)
        return self.status

    async def whole(self) -> bytes:
        """The whole body. Raises Failed."""
        if not self.complete:
            await self._until(self._is_complete)
        return b"".join(self._parts)

    async def take(self) -> bytes:
        """What has come of the body; nothing at its end. Raises Failed."""
        self._ready = self._has_some
        await self._until(self._has_some)
        parts, self._parts, self._held = self._parts, [], 0
        if self._paused and self._transport:
            self._paused = False
            self._transport.resume_reading()
        return b"".join(parts)

    def fail(self, error: Exception) -> None:
        """End the connection; who waits for its answer gets `error`."""
        if not self.complete and self._error is None:
            self._error = error
        self.close()
        self._wake()

    def finish(self, finished: Callable[[Connection], None]) -> None:
        """What is left of the answer, a last empty chunk, nobody reads: hear when it has come, or is lost."""
        self._finished = finished
        self._timer = self._loop.call_later(FINISH_SECONDS, self.close)

    def close(self) -> None:
        self.lost = True
        if self._transport is not None:
            self._transport.abort()

    @property
    def reusable(self) -> bool:
        return self.complete and self._keep and not self.lost

    @property
    def silent(self) -> bool:
        """Whether nothing at all has come of the answer that is under way."""
        return self._head_bytes == 0

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Without Nagle's delay: asyncio and uvloop set TCP_NODELAY on every TCP connection themselves.
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self.complete:  # nobody asked
            self.close()
            return
        self._seen = self._loop.time()
        if not self.status:
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self.fail(Failed("garbage"))
            return
        if not self.status and self._head_bytes > MAX_HEAD:
            self.fail(Failed("garbage"))
        elif self._size > self._limit:
            self.fail(Failed("too_large"))
        elif self._held > HIGH_WATER and self._ready == self._has_some and not self._paused:
            self._paused = True
            assert self._transport
            self._transport.pause_reading()
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        if not self.complete:
            if exc is None and self.status and not self.framed:
                self.complete, self._keep = True, False
            elif self._error is None:
                self._error = Failed("broken")
        self._wake()
        self._on_lost(self)

    # What llhttp calls.

    def on_message_begin(self) -> None:
        if self.complete:  # a second answer behind the first
            self._keep = False

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.complete:
            self.headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        status: int = self._parser.get_status_code()
        if self.complete or status < 200:
            return
        self.status = status
        self.framed = b"content-length" in self.headers or b"transfer-encoding" in self.headers
        self._keep = self._parser.should_keep_alive()

    def on_body(self, part: bytes) -> None:
        if self.complete:
            return
        self._size += len(part)
        self._held += len(part)
        self._parts.append(part)

    def on_message_complete(self) -> None:
        if not self.status:  # 100 Continue and its kin: the answer is still to come
            self.headers.clear()
            return
        self.complete = True
        self.answers += 1

    def _begin(self, limit: int, patience: float) -> None:
        self.status = 0
        self.headers = {}
        self._parts = []
        self._size = self._held = self._head_bytes = 0
        self._limit, self.patience = limit, patience
        self._ready = _never
        self._keep = self.framed = True
        self._paused = False
        self._seen = self._loop.time()

    async def _until(self, ready: Callable[[], object]) -> None:
        if not ready():
            if self._error is None:
                self._ready, self._waiter = ready, self._loop.create_future()
                self._timer = self._loop.call_later(self.patience, self._silence)
                try:
                    await self._waiter
                finally:
                    self._timer.cancel()
                    self._waiter = None
            if self._error is not None:
                raise self._error

    def _wake(self) -> None:
        if self._finished is not None and (self.complete or self.lost):
            finished, self._finished = self._finished, None
            assert self._timer
            self._timer.cancel()
            finished(self)
        if self._waiter is not None and not self._waiter.done() and (self._error or self._ready()):
            self._waiter.set_result(None)

    def _silence(self) -> None:
        """Time is up, unless something has come meanwhile."""
        left = self._seen + self.patience - self._loop.time()
        if left > 0:
            self._timer = self._loop.call_later(left, self._silence)
        else:
            self.fail(Failed("timeout"))

    def _has_head(self) -> object:
        return self.status

    def _has_some(self) -> object:
        return self._parts or self.complete

    def _is_complete(self) -> object:
        return self.complete


def _never() -> object:
    return False
