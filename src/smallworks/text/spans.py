"""Pieces of a text in their order, none across another. Knows not what they are."""

from __future__ import annotations

from bisect import bisect
from typing import Protocol, TypeVar


class Piece(Protocol):
    @property
    def start(self) -> int: ...

    @property
    def end(self) -> int: ...


Some = TypeVar("Some", bound=Piece)


def claim(claimed: list[Some], piece: Some) -> None:
    """Put it in its place, unless that overlaps with another's."""
    at = bisect(claimed, piece.start, key=lambda other: other.start)
    if (at == 0 or claimed[at - 1].end <= piece.start) and (
        at == len(claimed) or piece.end <= claimed[at].start
    ):
        claimed.insert(at, piece)
