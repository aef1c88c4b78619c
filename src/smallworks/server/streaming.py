"""Server-sent events: pieces of answers on the wire as soon as they are made, several in one write.

A failure before the first piece is an ordinary error answer; a later one is an event of its own and the
end. Knows nothing of what an event says.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from smallworks.server import failures
from smallworks.server.ask import Piece
from smallworks.server.room import Pieces
from smallworks.server.wording import Wording, event

HEADERS = {"cache-control": "no-cache", "x-accel-buffering": "no"}


async def begin(pieces: Pieces, wording: Wording) -> Response:
    """The response, once the first piece is there. Raises what the engine raised until then."""
    try:
        first = await pieces.take()
    except BaseException:
        pieces.close()
        raise
    return EventStream(first, pieces, wording)


class EventStream(Response):
    media_type = "text/event-stream"

    def __init__(self, first: list[Piece], pieces: Pieces, wording: Wording) -> None:
        super().__init__(headers=HEADERS)
        del self.headers["content-length"]
        self._first, self._pieces, self._wording = first, pieces, wording

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        start: dict[str, Any] = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
        try:
            await send(start)
            async for events in self._events(scope):
                await send({"type": "http.response.body", "body": events, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        finally:
            self._pieces.close()

    async def _events(self, scope: Scope) -> AsyncIterator[bytes]:
        batch, answers, lead = self._first, [], self._wording.opening()
        try:
            while batch:
                answers += [piece.answer for piece in batch if piece.answer]
                yield lead + b"".join(map(self._wording.chunk, batch))
                lead, batch = b"", await self._pieces.take()
            yield lead + self._wording.closing(answers)
        except failures.ClientGone:
            scope["visit"].error = "client_gone"
        except Exception as error:  # the status line is out: the failure is told in the stream
            yield event(failures.in_stream(scope, error))
