"""A value as a JSON response, in the fewest steps: every request pays for this one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

# Made once: json.dumps makes an encoder for every call with options.
WRITTEN = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
ASCII = json.JSONEncoder(separators=(",", ":")).encode


class Encoded(dict[str, Any]):
    """An answer that its host has written already: the object without its figures, and `body`, all of it."""

    def __init__(self, said: Mapping[str, Any], body: bytes) -> None:
        super().__init__(said)
        self.body = body


def to_bytes(value: Any) -> bytes:
    if isinstance(value, Encoded):
        return value.body
    try:
        return WRITTEN(value).encode()
    except UnicodeEncodeError:  # half of a surrogate pair has no bytes of its own
        return ASCII(value).encode()


def reply(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Bytes are JSON already."""
    body = value if isinstance(value, bytes) else to_bytes(value)
    return Response(body, status_code=status, media_type="application/json", headers=headers)
