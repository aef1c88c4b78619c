"""How a request may arrive, and its answer be taken: a client that is too slow, or endless, is cut off.

uvicorn bounds neither: a client that sends a byte a minute, or stops reading, would hold its connection for
ever, and one that sends headers without end would fill the memory. Knows no route.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from starlette.types import Scope
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

SECONDS = 30.0
"""From a connection's first moment, or a request's first byte, to the last byte of its body."""
UNREAD_SECONDS = 30.0
"""How long a client may take nothing of an answer that waits for it."""
HEAD_BYTES = 64 * 1024
"""Bytes of a request line and its headers."""
LATE = b"408 Request Timeout"
TOO_LARGE = b"431 Request Header Fields Too Large"
AT_ONCE = "smallworks.at_once"
"""The extension of ASGI by which a whole answer to a POST goes out in one write, not as two messages."""

Header = tuple[bytes, bytes]


class Arrival(HttpToolsProtocol):
    """uvicorn's own protocol; a request that arrives in one piece costs it no timer."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._head = 0
        self._in_head, self._in_request = True, True
        self._alarm: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._set()

    def connection_lost(self, exc: Exception | None) -> None:
        self._unset()
        self._taken()
        if self.scope is not None:  # it leads back here, and would wait for the collector with its request
            self.scope.pop("extensions", None)
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._look(self.transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        self._taken()
        super().resume_writing()

    def data_received(self, data: bytes) -> None:
        if self._in_head:
            self._head += len(data)
        super().data_received(data)
        if self._in_head and self._head > HEAD_BYTES:
            self._refuse(TOO_LARGE)
        elif self._in_request and self._alarm is None:
            self._set()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = {AT_ONCE: self._at_once}  # type: ignore[dict-item]
        self._in_head = self._in_request = True

    def on_headers_complete(self) -> None:
        self._in_head, self._head = False, 0
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._in_request = False
        self._unset()
        super().on_message_complete()

    def _at_once(self, scope: Scope, status: int, headers: Iterable[Header], body: bytes) -> bool:
        """Answer, `content-length` among the headers. False, and nothing sent, where that is uvicorn's to do:

        another request follows on the connection already, or none may, or the client does not read, or a
        header holds the end of a line.
        """
        cycle = self.cycle
        if cycle.scope is not scope or cycle.response_started or cycle.disconnected:
            return False
        if self.flow.write_paused or not cycle.keep_alive:
            return False
        lines = [b"%b: %b\r\n" % header for header in (*cycle.default_headers, *headers)]
        head = b"".join(lines)
        if not head.count(b"\n") == head.count(b"\r") == len(lines):
            return False
        cycle.response_started = cycle.response_complete = True
        cycle.waiting_for_100_continue = False
        self.transport.write(b"%b%b\r\n%b" % (STATUS_LINE[status], head, body))
        cycle.message_event.set()
        cycle.on_response()
        return True

    def _set(self) -> None:
        self._alarm = self.loop.call_later(SECONDS, self._refuse, LATE)

    def _unset(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm = None

    def _look(self, waits: int) -> None:
        """Again after a while: `waits` bytes must have become fewer by then."""
        self._unread = self.loop.call_later(UNREAD_SECONDS, self._still, waits)

    def _still(self, waited: int) -> None:
        waits = self.transport.get_write_buffer_size()
        if waits < waited:
            self._look(waits)
        else:
            self.transport.abort()

    def _taken(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
        self._unread = None

    def _refuse(self, status: bytes) -> None:
        """Say why where no answer has begun, and hang up."""
        if self.transport.is_closing():
            return
        if self.cycle is None or self.cycle.response_complete or not self.cycle.response_started:
            self.transport.write(b"HTTP/1.1 %b\r\ncontent-length: 0\r\nconnection: close\r\n\r\n" % status)
        self.transport.close()
