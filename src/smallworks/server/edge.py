"""The outermost layer of every request: its id, the largest body, and nothing unexpected let out.

Knows no route. Plain ASGI, because every request pays for it.
"""

from __future__ import annotations

import re
import secrets

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from smallworks.server import failures
from smallworks.server.shapes import MAX_BODY

REQUEST_ID = re.compile(rb"[\w.:-]{1,128}")


class Edge:
    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id, started, size = _request_id(scope), False, 0

        async def tell(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                message["headers"] = [*message["headers"], (b"x-request-id", request_id)]
            await send(message)

        async def listen() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > MAX_BODY:
                raise HTTPException(413)
            return message

        try:
            if _content_length(scope) > MAX_BODY:
                await failures.too_large()(scope, receive, tell)
            else:
                await self.app(scope, listen, tell)
        except Exception as error:  # the last resort: answered in shape, logged without its message
            if started:
                failures.log_unexpected(error)
            else:
                await failures.unexpected(error)(scope, receive, tell)


def _request_id(scope: Scope) -> bytes:
    """The client's own id where it sent a plain one, so that its log and ours meet."""
    sent: bytes = next((value for name, value in scope["headers"] if name == b"x-request-id"), b"")
    return sent if REQUEST_ID.fullmatch(sent) else secrets.token_hex(16).encode()


def _content_length(scope: Scope) -> int:
    sent = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
    return int(sent) if sent.isdigit() else 0
