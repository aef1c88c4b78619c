"""The outermost layer of every request: its visit, the largest body, and nothing unexpected let out.

Knows no route. Plain ASGI, because every request pays for it.
"""

from __future__ import annotations

import random
import re
import secrets
from collections.abc import Mapping, Sequence

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from smallworks.errors import SmallworksError
from smallworks.server import failures
from smallworks.server.door import Door
from smallworks.server.meters import Meters
from smallworks.server.rules import Rules
from smallworks.server.shapes import MAX_BODY
from smallworks.server.visit import Visit
from smallworks.server.witness import Witness

IDS = random.Random(secrets.randbits(256))
"""Ids of requests are no secrets: the system's own randomness costs ten times as much."""
REQUEST_ID = re.compile(rb"[\w.:-]{1,128}")


class Edge:
    """`scope["visit"]` is there for everything further in."""

    def __init__(
        self, app: ASGIApp, *, door: Door, meters: Meters, rules: Rules, witnesses: Sequence[Witness] = ()
    ) -> None:
        self.app, self.door, self.meters, self.rules = app, door, meters, rules
        self.witnesses = witnesses

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        sent = dict(reversed(scope["headers"]))
        visit = scope["visit"] = Visit(id=_request_id(sent), deadline=self.rules.deadline, sent=sent)

        async def tell(message: Message) -> None:
            if message["type"] == "http.response.start":
                visit.status = message["status"]
                message["headers"] = [*message["headers"], *visit.headers()]
            await send(message)

        try:
            await self._serve(scope, visit, receive, tell)
        except Exception as error:  # the last resort: answered in shape, logged without its message
            if visit.status:
                failures.log_unexpected(error)
            else:
                await failures.answer(scope, error)(scope, receive, tell)
        finally:
            self.door.leave(visit)
            self.meters.visited(scope, visit)
            for witness in self.witnesses:
                witness(scope, visit)

    async def _serve(self, scope: Scope, visit: Visit, receive: Receive, tell: Send) -> None:
        try:
            await self.door.enter(scope, visit)
        except SmallworksError as error:
            await failures.answer(scope, error)(scope, receive, tell)
            return
        if _content_length(visit.sent) > MAX_BODY:
            await failures.too_large(scope)(scope, receive, tell)
        else:
            await self.app(scope, receive, tell)


def _request_id(sent: Mapping[bytes, bytes]) -> bytes:
    """The client's own id where it sent a plain one, so that its log and ours meet."""
    own = sent.get(b"x-request-id")
    return own if own and REQUEST_ID.fullmatch(own) else b"%032x" % IDS.getrandbits(128)


def _content_length(sent: Mapping[bytes, bytes]) -> int:
    length = sent.get(b"content-length", b"")
    return int(length) if length.isdigit() else 0
