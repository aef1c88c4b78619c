"""Every failure as an answer in OpenAI's error shape, with the fix in its message. Knows no route.

An unexpected failure is logged by its class and place alone: its message may hold a prompt.
"""

from __future__ import annotations

import logging
import math
import traceback
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope

from smallworks.errors import RequestError, SmallworksError, UpstreamError
from smallworks.server.reply import reply
from smallworks.server.shapes import MAX_BODY, WrongShape

LOG = logging.getLogger("smallworks.server")
TYPES = {429: "rate_limit_error", 404: "not_found_error"}
TOO_LARGE = f"The body is larger than {MAX_BODY:,} bytes. Send fewer or shorter inputs in one request."
BRANCHES = frozenset({"str", "int", "bool", "float"})
"""Names that pydantic puts into an error's place for the branch of a union; no field has them."""


class ModelNotFound(RequestError):
    status = 404


class BadField(RequestError):
    """A field of the request that cannot be taken; `param` is its name."""

    def __init__(self, what: str, *, fix: str, param: str | None) -> None:
        super().__init__(what, fix=fix)
        self.param = param


class BadJson(RequestError):
    """A body that is no JSON."""


class UnsupportedMediaType(RequestError):
    """A body that does not say that it is JSON."""

    status = 415


class InvalidApiKey(RequestError):
    """No key, one that nobody knows, or one that has expired."""

    status = 401


class Forbidden(RequestError):
    """A key that does not open this, or a host name that a stranger's page may have chosen."""

    status = 403


class Unavailable(SmallworksError):
    """The engine is ending, or a store is gone: ask again later, or another replica."""

    status = 503

    def __init__(self, what: str, *, fix: str, seconds: float = 1.0) -> None:
        super().__init__(what, fix=fix)
        self.seconds = max(1, math.ceil(seconds))


class DeadlineExceeded(SmallworksError):
    """The answer was not there in time."""

    status = 504


class Later(SmallworksError):
    """Refused for now, and the server is well; after `seconds` it is worth asking again."""

    status = 429

    def __init__(self, what: str, *, fix: str, seconds: float) -> None:
        super().__init__(what, fix=fix)
        self.seconds = max(1, math.ceil(seconds))


class Busy(Later):
    """The line before a bundle is full."""


class RateLimitExceeded(Later):
    """A key has used up a minute's share, or has as many answers under way as it may."""


class InsufficientQuota(Later):
    """A key has used up its month."""


class NotLoaded(Later):
    """A bundle that cannot be brought into memory just now."""

    status = 503


class Draining(Later):
    """The server is ending: another replica, or this one when it is back."""

    status = 503


class UpstreamRefused(RequestError):
    """A server behind this one cannot take the request, and said why."""

    def __init__(self, what: str, *, fix: str, status: int, code: str = "", param: str | None = None) -> None:
        super().__init__(what, fix=fix)
        self.status, self.param = status, param
        self._code = code

    @property
    def code(self) -> str:
        return self._code or super().code


class UpstreamDown(UpstreamError):
    """It cannot be reached, broke off, or says that it failed."""


class UpstreamSlow(UpstreamError):
    status = 504


class UpstreamGarbage(UpstreamError):
    """What it says is no answer."""


class UpstreamDenied(UpstreamError):
    """It does not take our key."""


class UpstreamBusy(Later):
    """It takes no more for now, and so do all the others."""


class NoUpstream(Later):
    """All of them are left alone for now, because they failed or asked for a pause."""

    status = 503


class ClientGone(Exception):
    """The client hung up; nobody reads the answer."""


async def handled(request: Request, error: Exception) -> Response:
    """As HANDLERS would. Raises what none of them takes."""
    for kind, handler in HANDLERS.items():
        if isinstance(error, kind):
            return await handler(request, error)
    raise error


def payload(error: Exception) -> dict[str, Any]:
    """The body of an error answer. An error that is not ours is logged and not told."""
    if not isinstance(error, SmallworksError):
        log_unexpected(error)
        return _payload("The server failed. Ask its operator to look into its log.", 500, "internal_error")
    if error.status >= 500 and not isinstance(error, Later):
        LOG.error("%s", error.code)
    return _payload(str(error), error.status, error.code, getattr(error, "param", None))


def answer(scope: Scope, error: Exception) -> Response:
    """The error as an answer, and its code noted on the visit. One that is not ours is a 500."""
    status = error.status if isinstance(error, SmallworksError) else 500
    return _reply(scope, payload(error), status, _headers(error))


def in_stream(scope: Scope, error: Exception) -> dict[str, Any]:
    """The error as an event of a stream that has begun, and its code noted on the visit."""
    body = payload(error)
    scope["visit"].error = body["error"]["code"]
    return body


def too_large(scope: Scope) -> Response:
    return _reply(scope, _payload(TOO_LARGE, 413, "body_too_large"), 413)


def log_unexpected(error: Exception) -> None:
    frame = traceback.extract_tb(error.__traceback__)[-1:]
    place = f"{frame[0].filename}:{frame[0].lineno}" if frame else "unknown place"
    LOG.error("unexpected %s at %s", type(error).__name__, place)


async def _ours(request: Request, error: Exception) -> Response:
    return answer(request.scope, error)


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, WrongShape)
    param, message = _explain(error.problems)
    return _reply(request.scope, _payload(message, 400, "bad_field", param), 400)


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 413:
        return too_large(request.scope)
    path, method = request.url.path, request.method
    messages = {
        404: f"There is no '{path}' here. GET /openapi.json lists every route.",
        405: f"'{path}' does not take {method}. GET /openapi.json lists every route.",
    }
    codes = {404: "route_not_found", 405: "method_not_allowed"}
    status = error.status_code
    message = messages.get(status, str(error.detail))
    body = _payload(message, status, codes.get(status, "http_error"))
    return _reply(request.scope, body, status, error.headers)


async def _gone(request: Request, error: Exception) -> Response:
    request.scope["visit"].error = "client_gone"
    return Response(status_code=499)


HANDLERS: dict[type[Exception], Callable[[Request, Exception], Awaitable[Response]]] = {
    SmallworksError: _ours,
    WrongShape: _invalid,
    HTTPException: _http,
    ClientGone: _gone,
}


def _explain(problems: Sequence[Any]) -> tuple[str | None, str]:
    """Name and sentence of the first field that is wrong; the branches of a union become one sentence."""
    places = [_place(problem["loc"]) for problem in problems]
    reasons = [p["msg"] for p, place in zip(problems, places, strict=True) if place == places[0]]
    name = places[0] or None
    return name, f"'{name or 'body'}': {'; or: '.join(dict.fromkeys(reasons))}. Mend that field."


def _place(location: Sequence[str | int]) -> str:
    parts: list[str] = []
    for part in location:
        if isinstance(part, str) and (part in BRANCHES or "[" in part or part[:1].isupper()):
            break
        parts.append(str(part))
    return ".".join(parts)


def _reply(
    scope: Scope, body: dict[str, Any], status: int, headers: Mapping[str, str] | None = None
) -> Response:
    scope["visit"].error = body["error"]["code"]
    return reply(body, status, headers)


def _headers(error: Exception) -> dict[str, str] | None:
    if isinstance(error, Later | Unavailable):
        return {"retry-after": str(error.seconds)}
    return {"www-authenticate": "Bearer"} if isinstance(error, InvalidApiKey) else None


def _payload(message: str, status: int, code: str, param: str | None = None) -> dict[str, Any]:
    kind = TYPES.get(status, "invalid_request_error" if status < 500 else "server_error")
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}
