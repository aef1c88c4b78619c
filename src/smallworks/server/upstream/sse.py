"""Server-sent events from bytes as they come, by the rules of the HTML standard. Knows no JSON.

Of an event its data counts; names, ids and comments are passed over.
"""

from __future__ import annotations

import re

from smallworks.server.upstream.failed import Failed

MAX_EVENT = 2**22
"""Bytes of an event that has not ended."""
LINE = re.compile(rb"\r\n|\r|\n")


class Sse:
    def __init__(self) -> None:
        self._rest = b""
        self._seen = 0

    def feed(self, data: bytes) -> list[bytes]:
        """The data of every event that has ended. Raises Failed for one that is too large."""
        # Nearly all servers end a line with \n alone; the other ends are made that one.
        if b"\r" in data or self._rest.endswith(b"\r"):
            whole = self._rest + data
            held = b"\r" if whole.endswith(b"\r") else b""  # perhaps half of \r\n
            self._rest = b""
            data = LINE.sub(b"\n", whole[: len(whole) - len(held)]) + held
        *ended, self._rest = (self._rest + data).split(b"\n\n")
        if len(self._rest) > MAX_EVENT:
            raise Failed("garbage")
        return [found for block in ended if (found := _data(block)) is not None]


def _data(block: bytes) -> bytes | None:
    if block.startswith(b"data: ") and b"\n" not in block:
        return block[6:]
    lines = [line[5:].removeprefix(b" ") for line in block.split(b"\n") if line.startswith(b"data:")]
    return b"\n".join(lines) if lines else None
