"""JSON as it comes and as it goes: by orjson, and what that refuses by the standard library."""

from __future__ import annotations

import json
import re
from typing import Any

import orjson

DIGITS = bytes.maketrans(b"123456789", b"000000000")
LONG = b"0" * 19
"""Whole numbers beyond 64 bits, every digit as 0: orjson would make fractions of them."""
NOT_ASCII = re.compile(r"[^\x00-\x7f]+")
# Made once: json.dumps makes an encoder for every call with options.
WRITTEN = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
ASCII = json.JSONEncoder(separators=(",", ":")).encode


def read(body: bytes) -> Any:
    """What UTF-8 says. Raises ValueError or RecursionError."""
    if LONG in body.translate(DIGITS):  # a regular expression takes ten times as long to find one
        return json.loads(body.decode())
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return json.loads(body.decode())


def write(value: Any) -> bytes:
    """UTF-8 without spaces; numbers that are none (NaN, infinities) as null, times as ISO 8601.

    So orjson has it. A value that it refuses, for a whole number beyond 64 bits or half of a surrogate pair
    in it, is written by the standard library, which writes NaN as NaN and takes no times.
    Raises TypeError or RecursionError for what is no JSON.
    """
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError:
        return _written(value)


def write_ascii(value: Any) -> bytes:
    """As `write`, with an escape for every sign that is not ASCII."""
    written = write(value)
    if written.isascii():
        return written
    return NOT_ASCII.sub(lambda found: ASCII(found[0])[1:-1], written.decode()).encode()


def _written(value: Any) -> bytes:
    try:
        return WRITTEN(value).encode()
    except UnicodeEncodeError:  # half of a surrogate pair has no bytes of its own
        return ASCII(value).encode()
