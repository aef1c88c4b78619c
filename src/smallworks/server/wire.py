"""JSON as it comes and as it goes: by orjson, and what that refuses by the standard library."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from typing import Any

import orjson

LONG = re.compile(rb"\d{19}")
"""Whole numbers beyond 64 bits, which orjson would make fractions of."""
# Made once: json.dumps makes an encoder for every call with options.
WRITTEN = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
ASCII = json.JSONEncoder(separators=(",", ":")).encode


def read(body: bytes) -> Any:
    """What UTF-8 says. Raises ValueError or RecursionError."""
    if LONG.search(body) is None:
        with suppress(orjson.JSONDecodeError):
            return orjson.loads(body)
    return json.loads(body.decode())


def write(value: Any) -> bytes:
    """UTF-8 without spaces. Raises TypeError or RecursionError for what is no JSON."""
    with suppress(orjson.JSONEncodeError):
        return orjson.dumps(value)
    try:
        return WRITTEN(value).encode()
    except UnicodeEncodeError:  # half of a surrogate pair has no bytes of its own
        return ASCII(value).encode()
