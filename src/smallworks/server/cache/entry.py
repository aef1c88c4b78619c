"""A kept answer as a value, and as the bytes that a store holds: versioned, and checked when read."""

from __future__ import annotations

import struct
import time
import zlib
from dataclasses import dataclass

MAGIC = b"SWRC\x01"
"""The format's name and version; whatever begins otherwise is not ours."""
HEAD = struct.Struct(">5sId2I")


class Foreign(Exception):
    """Bytes that are no entry of ours, of another version, damaged, or kept for another key."""


@dataclass(frozen=True, slots=True)
class Kept:
    """The answer's JSON as it goes out, until when it holds (Unix time), and the tokens that it took."""

    body: bytes
    expires: float
    tokens_in: int = 0
    tokens_out: int = 0

    def left(self) -> float:
        """Seconds that it still holds; 0 or less once it is stale."""
        return self.expires - time.time()


def pack(key: bytes, kept: Kept) -> bytes:
    check = _check(key, kept.body, kept.expires)
    return HEAD.pack(MAGIC, check, kept.expires, kept.tokens_in, kept.tokens_out) + kept.body


def unpack(key: bytes, written: bytes) -> Kept:
    """Raises Foreign. The checksum finds damage, not a forger: whoever may write to the store is trusted."""
    if len(written) < HEAD.size:
        raise Foreign
    magic, check, expires, tokens_in, tokens_out = HEAD.unpack_from(written)
    body = written[HEAD.size :]
    if magic != MAGIC or check != _check(key, body, expires):
        raise Foreign
    return Kept(body, expires, tokens_in, tokens_out)


def _check(key: bytes, body: bytes, expires: float) -> int:
    return zlib.crc32(body, zlib.crc32(key + struct.pack(">d", expires)))
