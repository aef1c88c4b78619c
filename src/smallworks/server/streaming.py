"""Server-sent events: pieces of answers on the wire as soon as they are made, several in one write.

A failure before the first piece is an ordinary error answer; a later one is an event of its own and the
end. Knows nothing of what an event says.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Protocol, Self

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from smallworks.server import failures
from smallworks.server.ask import Piece
from smallworks.server.hosts import Events, Said
from smallworks.server.wording import DONE, StreamWording, event
from smallworks.types import Answer

HEADERS = {"cache-control": "no-cache", "x-accel-buffering": "no"}


class Source(Protocol):
    """Where a bundle's pieces come from."""

    async def take(self) -> list[Piece]: ...

    def close(self) -> None: ...


class Worded:
    """A bundle's pieces as the events of one route."""

    def __init__(self, first: list[Piece], pieces: Source, wording: StreamWording) -> None:
        self._batch, self._pieces, self._wording = first, pieces, wording
        self._lead = wording.opening()
        self._answers: list[Answer] | None = []

    @classmethod
    async def begin(cls, pieces: Source, wording: StreamWording) -> Self:
        """Once the first piece is there. Raises what the engine raised until then."""
        try:
            return cls(await pieces.take(), pieces, wording)
        except BaseException:
            pieces.close()
            raise

    async def take(self) -> list[Said]:
        if self._answers is None:
            return []
        told, self._lead = self._lead, []
        while True:  # a piece may tell nothing by itself
            batch = self._batch or await self._pieces.take()
            self._batch = []
            if not batch:
                answers, self._answers = self._answers, None
                return [*told, *self._wording.closing(answers)]
            self._answers += [piece.answer for piece in batch if piece.answer]
            told += [event for piece in batch for event in self._wording.events(piece)]
            if told:
                return told

    def close(self) -> None:
        self._pieces.close()


class EventStream(Response):
    media_type = "text/event-stream"

    def __init__(self, events: Events) -> None:
        super().__init__(headers=HEADERS)
        del self.headers["content-length"]
        self._events = events

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        start: dict[str, Any] = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
        try:
            await send(start)
            async for written in self._written(scope):
                await send({"type": "http.response.body", "body": written, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        finally:
            self._events.close()

    async def _written(self, scope: Scope) -> AsyncIterator[bytes]:
        try:
            while batch := await self._events.take():
                yield b"".join(map(event, batch))
            yield DONE
        except failures.ClientGone:
            scope["visit"].error = "client_gone"
        except Exception as error:  # the status line is out: the failure is told in the stream
            yield event(failures.in_stream(scope, error))
