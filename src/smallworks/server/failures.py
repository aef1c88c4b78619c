"""Every failure as an answer in OpenAI's error shape, with the fix in its message. Knows no route.

An unexpected failure is logged by its class and place alone: its message may hold a prompt.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

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


class Unavailable(SmallworksError):
    """The engine is ending: ask again later, or another replica."""

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
    if error.status >= 500:
        LOG.error("%s", error.code)
    return _payload(str(error), error.status, error.code, getattr(error, "param", None))


def unexpected(error: Exception) -> Response:
    return reply(payload(error), 500)


def too_large() -> Response:
    return reply(_payload(TOO_LARGE, 413, "body_too_large"), 413)


def log_unexpected(error: Exception) -> None:
    frame = traceback.extract_tb(error.__traceback__)[-1:]
    place = f"{frame[0].filename}:{frame[0].lineno}" if frame else "unknown place"
    LOG.error("unexpected %s at %s", type(error).__name__, place)


async def _ours(request: Request, error: Exception) -> Response:
    assert isinstance(error, SmallworksError)
    return reply(payload(error), error.status)


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    kind = request.headers.get("content-type", "")
    if "json" not in kind:
        message = f"The content type is '{kind}', not JSON. Send the header 'content-type: application/json'."
        return reply(_payload(message, 415, "unsupported_media_type"), 415)
    problems = error.errors()
    if problems[0]["type"] == "json_invalid":
        position, reason = problems[0]["loc"][-1], problems[0]["ctx"]["error"]
        return reply(
            _payload(f"The body is not valid JSON at byte {position}: {reason}.", 400, "bad_json"), 400
        )
    param, message = _explain(problems)
    return reply(_payload(message, 400, "bad_field", param), 400)


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 413:
        return too_large()
    path, method = request.url.path, request.method
    messages = {
        400: "The body could not be read as JSON. Mend it and send it again.",
        404: f"There is no '{path}' here. GET /openapi.json lists every route.",
        405: f"'{path}' does not take {method}. GET /openapi.json lists every route.",
    }
    codes = {400: "bad_json", 404: "route_not_found", 405: "method_not_allowed"}
    status = error.status_code
    message = messages.get(status, str(error.detail))
    return reply(_payload(message, status, codes.get(status, "http_error")), status, error.headers)


async def _gone(request: Request, error: Exception) -> Response:
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


def _payload(message: str, status: int, code: str, param: str | None = None) -> dict[str, Any]:
    kind = TYPES.get(status, "invalid_request_error" if status < 500 else "server_error")
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}
