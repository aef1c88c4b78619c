"""A value as a JSON response, in the fewest steps: every request pays for this one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from smallworks.server import json_bytes


class Encoded(dict[str, Any]):
    """An answer or an event whose JSON is there already, in `body`. To change it is to make another dict."""

    def __init__(self, said: Mapping[str, Any], body: bytes) -> None:
        super().__init__(said)
        self.body = body


class Figures(Encoded):
    """An answer of which only `body` has the figures, the object all else; it holds no texts."""


class Json(Response):
    """In a third of the time of Starlette's own."""

    def __init__(self, body: bytes, status: int, headers: Mapping[str, str] | None) -> None:
        self.body, self.status_code, self.background = body, status, None
        self.raw_headers = [(b"content-length", b"%d" % len(body)), (b"content-type", b"application/json")]
        for name, value in (headers or {}).items():
            self.raw_headers.append((name.lower().encode("latin-1"), value.encode("latin-1")))


def to_bytes(value: Any) -> bytes:
    return value.body if isinstance(value, Encoded) else json_bytes.write(value)


def to_object(told: dict[str, Any] | bytes) -> dict[str, Any]:
    """An answer, also where it came as the bytes that would go out."""
    if not isinstance(told, bytes):
        return told
    found: dict[str, Any] = json_bytes.read(told)
    return found


def reply(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Bytes are JSON already."""
    body = value if isinstance(value, bytes) else to_bytes(value)
    return Json(body, status, headers)
