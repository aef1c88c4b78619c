"""What every request for an answer goes through, in order: read, its host found, guarded, answered, guarded.

All of it is JSON in and JSON out, whoever answers: a bundle in the room, or a server behind this one.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from smallworks.server import json_bytes, streaming
from smallworks.server.content import Keeper
from smallworks.server.door import header
from smallworks.server.failures import BadField, BadJson, ClientGone, UnsupportedMediaType
from smallworks.server.hosts import Events, Form, Host, Said
from smallworks.server.reply import reply
from smallworks.server.room import Room
from smallworks.server.shapes import MAX_BODY

if TYPE_CHECKING:  # loaded only by a server that has them
    from smallworks.server.cache.responses import Cached, ResponseCache
    from smallworks.server.guards.passing import Guarding, Passing


async def answer(request: Request, form: Form) -> Response:
    """The response, whole or streamed. Raises what went wrong, for failures.py to word."""
    said = await read(request)
    if form.streams and said.get("stream") is True:
        return streaming.EventStream(await events(request, form, said))
    return reply(await whole(request, form, said))


async def whole(request: Request, form: Form, said: Said) -> Said | bytes:
    """The whole answer to what was read; a kept one as the bytes that go out."""
    way = await _way(request, form, said)
    told = await way.host.reply(request, form, way.name, said)
    if way.keeper:
        way.keeper.after(request.scope["visit"], told)
    return await way.guards.leave(told) if way.guards else told


async def events(request: Request, form: Form, said: Said) -> Events:
    """The answer's events, once the first is there."""
    way = await _way(request, form, said)
    told = await way.host.stream(request, form, way.name, said)
    told = way.keeper.events(request.scope["visit"], told) if way.keeper else told
    return way.guards.stream(told) if way.guards else told


class Way(NamedTuple):
    """Who answers by which `name`, behind the cache where there is one, and what the answer passes."""

    name: str
    host: Host | Cached
    guards: Passing | None
    keeper: Keeper | None


async def _way(request: Request, form: Form, said: Said) -> Way:
    """That of a request, which has passed the guards itself, and was noted for who keeps it."""
    state, visit = request.app.state, request.scope["visit"]
    room: Room = state.room
    name, host = room.find(visit, _model(said))
    guarding: Guarding | None = state.guarding
    guards = await guarding.enter(visit, form, host, said) if guarding else None
    visit.body = b""  # nobody reads it again, and an answer may take long
    cache: ResponseCache | None = state.cache
    keeper: Keeper | None = state.keeper
    kept = keeper is not None and keeper.before(visit, form, said)
    return Way(name, cache.before(host) if cache else host, guards, keeper if kept else None)


async def read(request: Request) -> Said:
    """The body as a JSON object. Raises UnsupportedMediaType, BadJson or BadField."""
    kind = header(request.scope, b"content-type").decode("latin-1")
    if "json" not in kind:
        raise UnsupportedMediaType(
            f"The content type is '{kind}', not JSON.",
            fix="Send the header 'content-type: application/json'.",
        )
    body = await _body(request)
    try:
        said = json_bytes.read(body)
        request.scope["visit"].body = body
    except (ValueError, RecursionError):
        said = _parsed_slowly(body)
    if not isinstance(said, dict):
        raise BadField("'body': Input should be a JSON object.", fix="Send {…}.", param=None)
    return said


async def _body(request: Request) -> bytes:
    """As Request.body, in a third of its time. Raises HTTPException for more than the largest."""
    body, more = b"", True
    while more:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        body += message.get("body", b"")
        if len(body) > MAX_BODY:
            raise HTTPException(413)
        more = message.get("more_body", False)
    return body


def _parsed_slowly(body: bytes) -> Any:
    """What is in another encoding, or none. Raises BadJson."""
    try:
        return json.loads(body)
    except json.JSONDecodeError as error:
        what = f"The body is not valid JSON at byte {error.pos}: {error.msg}."
        raise BadJson(what, fix="Mend it and send it again.") from error
    except (UnicodeDecodeError, RecursionError, ValueError) as error:
        raise BadJson("The body could not be read as JSON.", fix="Mend it and send it again.") from error


def _model(said: Said) -> str | None:
    """The name that was asked for; None where it is none, which the form's shape then says."""
    name = said.get("model")
    return name if isinstance(name, str) and name.isprintable() else None
