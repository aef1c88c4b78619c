"""The nearest texts that were answered before, by their vectors; in memory, bounded, for one event loop.

Texts are only compared inside one frame: the same host, tenant and form, and requests that are alike in
everything but their text. Knows no answers, only the keys of theirs.
"""

from __future__ import annotations

from collections import OrderedDict

import numpy as np

CLOSEST = 8
"""Neighbours that are looked at: the nearest may differ in a number where the second does not."""
FIRST = 64


class Neighbours:
    """At most `most` texts in all; the oldest of the frame that was used longest ago goes first."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._frames: OrderedDict[bytes, _Frame] = OrderedDict()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def nearest(self, frame: bytes, vector: np.ndarray, threshold: float) -> list[tuple[float, str, bytes]]:
        """Cosine, text and key of those from `threshold` on, the nearest first."""
        found = self._frames.get(frame)
        if found is None:
            return []
        self._frames.move_to_end(frame)
        return found.nearest(vector, threshold)

    def add(self, frame: bytes, vector: np.ndarray, text: str, key: bytes) -> None:
        found = self._frames.setdefault(frame, _Frame(len(vector)))
        self._frames.move_to_end(frame)
        self._count += found.add(vector, text, key)
        while self._count > self._most:
            name, oldest = next(iter(self._frames.items()))
            self._count -= oldest.drop_oldest()
            if not len(oldest):
                del self._frames[name]

    def forget(self, frame: bytes, key: bytes) -> None:
        """An answer that is gone has no neighbours."""
        found = self._frames.get(frame)
        if found is not None:
            self._count -= found.drop(key)


class _Frame:
    """Vectors in the rows of one matrix; a row that is given up is filled by the last one."""

    def __init__(self, dimension: int) -> None:
        self._vectors = np.zeros((FIRST, dimension), np.float32)
        self._rows: list[tuple[str, bytes]] = []
        self._row_of: OrderedDict[bytes, int] = OrderedDict()

    def __len__(self) -> int:
        return len(self._rows)

    def nearest(self, vector: np.ndarray, threshold: float) -> list[tuple[float, str, bytes]]:
        likeness = self._vectors[: len(self._rows)] @ vector
        rows = np.flatnonzero(likeness >= threshold)
        best = rows[np.argsort(-likeness[rows], kind="stable")[:CLOSEST]]
        return [(float(likeness[row]), *self._rows[row]) for row in best]

    def add(self, vector: np.ndarray, text: str, key: bytes) -> int:
        """How many more there are: none where the key was there."""
        row = self._row_of.get(key)
        if row is None:
            row = len(self._rows)
            if row == len(self._vectors):
                self._vectors = np.concatenate([self._vectors, np.zeros_like(self._vectors)])
            self._rows.append((text, key))
            self._row_of[key] = row
            self._vectors[row] = vector
            return 1
        self._row_of.move_to_end(key)
        return 0

    def drop_oldest(self) -> int:
        return self.drop(next(iter(self._row_of)))

    def drop(self, key: bytes) -> int:
        row = self._row_of.pop(key, None)
        if row is None:
            return 0
        last = self._rows.pop()
        if row < len(self._rows):
            self._rows[row] = last
            self._vectors[row] = self._vectors[len(self._rows)]
            self._row_of[last[1]] = row
        return 1
