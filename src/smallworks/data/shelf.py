"""Texts by their number, the first ones in memory and the rest on disk: appended, then read in any order.

On disk a text takes 8 bytes of memory, however long it is. The file has no name and is gone with the process.
"""

from __future__ import annotations

import tempfile
from array import array
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import IO, overload

MEMORY = 64 * 2**20
"""Characters that are held in memory before texts go to the disk."""
CHUNK = 1_000


class Shelf(Sequence[str]):
    """A sequence of texts that only grows."""

    def __init__(self, memory: int = MEMORY) -> None:
        self._room = memory
        self._held: list[str] = []
        self._starts = array("q", [0])
        self._file: IO[bytes] | None = None

    def append(self, text: str) -> None:
        if self._room > 0:
            self._room -= len(text)
            self._held.append(text)
            return
        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix="smallworks-")  # noqa: SIM115 (held with the texts)
        raw = text.encode("utf-8", "surrogatepass")
        self._file.seek(self._starts[-1])
        self._file.write(raw)
        self._starts.append(self._starts[-1] + len(raw))

    def __len__(self) -> int:
        return len(self._held) + len(self._starts) - 1

    def __iter__(self) -> Iterator[str]:
        for start in range(0, len(self), CHUNK):
            yield from self[start : start + CHUNK]

    @overload
    def __getitem__(self, at: int) -> str: ...

    @overload
    def __getitem__(self, at: slice) -> list[str]: ...

    def __getitem__(self, at: int | slice) -> str | list[str]:
        if isinstance(at, slice):
            first, last, step = at.indices(len(self))
            held = len(self._held)
            found = self._held[first:last] + self._read(max(0, first - held), max(0, last - held))
            return found[::step]
        if not 0 <= at < len(self):
            raise IndexError(at)
        held = len(self._held)
        return self._held[at] if at < held else self._read(at - held, at - held + 1)[0]

    def _read(self, first: int, last: int) -> list[str]:
        """Texts of the file from number `first` up to `last`, in one read."""
        if self._file is None or last <= first:
            return []
        edges = self._starts[first : last + 1]
        self._file.seek(edges[0])
        raw = self._file.read(edges[-1] - edges[0])
        return [
            raw[start - edges[0] : end - edges[0]].decode("utf-8", "surrogatepass")
            for start, end in pairwise(edges)
        ]
