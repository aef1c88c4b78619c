"""The way of the busy routes: found by their path alone, past Starlette's router and its layers.

They stay the router's for all others: parameters, wrong methods, unknown paths. Plain ASGI.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from smallworks.server import failures
from smallworks.server.arrival import AT_ONCE
from smallworks.server.reply import Json

Endpoint = Callable[[Request], Awaitable[Response]]


class Shortcut:
    def __init__(self, app: ASGIApp, *, routes: Sequence[Route]) -> None:
        """Takes every POST route without parameters."""
        self.app = app
        self._endpoints: dict[str, Endpoint] = {
            route.path: route.endpoint
            for route in routes
            if route.methods == {"POST"} and not route.param_convertors
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        endpoint = self._endpoints.get(scope["path"]) if scope["type"] == "http" else None
        if endpoint is None or scope["method"] != "POST":
            await self.app(scope, receive, send)
            return
        scope["endpoint"] = endpoint
        request = Request(scope, receive)
        try:
            response = await endpoint(request)
        except Exception as error:
            response = await failures.handled(request, error)
            error.__traceback__ = None  # through a future it leads back here, and would keep the request
        if not (isinstance(response, Json) and _at_once(scope, response)):
            await response(scope, receive, send)


def _at_once(scope: Scope, response: Json) -> bool:
    """Whether the whole answer is sent, where the server below has a way to do that in one step."""
    send, visit = scope.get("extensions", {}).get(AT_ONCE), scope["visit"]
    if send is None:
        return False
    headers = [*response.raw_headers, *visit.headers()]
    if sent := send(scope, response.status_code, headers, response.body):
        visit.status = response.status_code
    return bool(sent)
