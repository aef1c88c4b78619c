"""Pieces that claim their places: in order, and none across another."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from smallworks.text.personal import Span
from smallworks.text.spans import claim

PIECES = st.lists(st.tuples(st.integers(0, 30), st.integers(1, 8)), max_size=12)


@given(PIECES)
def test_the_first_to_claim_a_place_has_it(places: list[tuple[int, int]]) -> None:
    claimed = list[Span]()
    for start, length in places:
        piece = Span("ID", start, start + length)
        free = all(piece.end <= other.start or other.end <= piece.start for other in claimed)
        before = len(claimed)
        claim(claimed, piece)
        assert len(claimed) - before == free
    assert all(one.end <= other.start for one, other in pairwise(claimed))
