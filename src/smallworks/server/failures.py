"""Every failure as an answer in OpenAI's error shape, with the fix in its message. Knows no route.

An unexpected failure is logged by its class and place alone: its message may hold a prompt.
"""

from __future__ import annotations

import logging
import math
import traceback
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import Scope

from smallworks.errors import RequestError, SmallworksError
from smallworks.server.reply import reply
from smallworks.server.shapes import MAX_BODY

LOG = logging.getLogger("smallworks.server")
TYPES = {429: "rate_limit_error", 404: "not_found_error"}
TOO_LARGE = f"The body is larger than {MAX_BODY:,} bytes. Send fewer or shorter inputs in one request."
BRANCHES = frozenset({"str", "int", "bool", "float"})
"""Names that pydantic puts into an error's place for the branch of a union; no field has them."""


class ModelNotFound(RequestError):
    status = 404


class BadField(RequestError):
    """A field of the request that cannot be taken; `param` is its name."""

    def __init__(self, what: str, *, fix: str, param: str) -> None:
        super().__init__(what, fix=fix)
        self.param = param


class InvalidApiKey(RequestError):
    """No key, one that nobody knows, or one that has expired."""

    status = 401


class Forbidden(RequestError):
    """A key that does not open this, or a host name that a stranger's page may have chosen."""

    status = 403


class Unavailable(SmallworksError):
    """The engine is ending: ask again later, or another replica."""

    status = 503


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


class Draining(Later):
    """The server is ending: another replica, or this one when it is back."""

    status = 503


class ClientGone(Exception):
    """The client hung up; nobody reads the answer."""


def install(app: FastAPI) -> None:
    app.add_exception_handler(SmallworksError, _ours)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(ClientGone, _gone)


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
    assert isinstance(error, RequestValidationError)
    kind = request.headers.get("content-type", "")
    if "json" not in kind:
        message = f"The content type is '{kind}', not JSON. Send the header 'content-type: application/json'."
        return _reply(request.scope, _payload(message, 415, "unsupported_media_type"), 415)
    problems = error.errors()
    if problems[0]["type"] == "json_invalid":
        position, reason = problems[0]["loc"][-1], problems[0]["ctx"]["error"]
        message = f"The body is not valid JSON at byte {position}: {reason}."
        return _reply(request.scope, _payload(message, 400, "bad_json"), 400)
    param, message = _explain(problems)
    return _reply(request.scope, _payload(message, 400, "bad_field", param), 400)


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 413:
        return too_large(request.scope)
    path, method = request.url.path, request.method
    messages = {
        400: "The body could not be read as JSON. Mend it and send it again.",
        404: f"There is no '{path}' here. GET /openapi.json lists every route.",
        405: f"'{path}' does not take {method}. GET /openapi.json lists every route.",
    }
    codes = {400: "bad_json", 404: "route_not_found", 405: "method_not_allowed"}
    status = error.status_code
    message = messages.get(status, str(error.detail))
    body = _payload(message, status, codes.get(status, "http_error"))
    return _reply(request.scope, body, status, error.headers)


async def _gone(request: Request, error: Exception) -> Response:
    request.scope["visit"].error = "client_gone"
    return Response(status_code=499)


def _explain(problems: Sequence[Any]) -> tuple[str | None, str]:
    """Name and sentence of the first field that is wrong; the branches of a union become one sentence."""
    places = [_place(problem["loc"]) for problem in problems]
    reasons = [p["msg"] for p, place in zip(problems, places, strict=True) if place == places[0]]
    name = places[0] or None
    return name, f"'{name or 'body'}': {'; or: '.join(dict.fromkeys(reasons))}. Mend that field."


def _place(location: Sequence[str | int]) -> str:
    parts: list[str] = []
    for part in location[1:]:
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
    if isinstance(error, Later):
        return {"retry-after": str(error.seconds)}
    return {"www-authenticate": "Bearer"} if isinstance(error, InvalidApiKey) else None


def _payload(message: str, status: int, code: str, param: str | None = None) -> dict[str, Any]:
    kind = TYPES.get(status, "invalid_request_error" if status < 500 else "server_error")
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}
