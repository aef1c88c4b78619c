"""Neighbours are the nearest of their frame, bounded, against a plain search over all of them."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from smallworks.server.cache.near import CLOSEST, Neighbours

FRAME = b"frame"


def unit(seed: int) -> np.ndarray:
    vector = np.random.default_rng(seed).normal(size=8).astype(np.float32)
    return vector / np.linalg.norm(vector)


def key(number: int) -> bytes:
    return number.to_bytes(4, "big")


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 120)), max_size=300))
def test_as_a_plain_search_finds_them(steps: list[tuple[bool, int]]) -> None:
    neighbours, plain = Neighbours(1000), set[int]()
    for adds, number in steps:
        if adds:
            neighbours.add(FRAME, unit(number), str(number), key(number))
            plain.add(number)
        else:
            neighbours.forget(FRAME, key(number))
            plain.discard(number)
    assert len(neighbours) == len(plain)
    asked = unit(999)
    likeness = sorted((-float(unit(number) @ asked), number) for number in plain)
    wanted = [number for value, number in likeness if -value >= 0.3][:CLOSEST]
    assert [int(text) for _, text, _ in neighbours.nearest(FRAME, asked, 0.3)] == wanted


def test_frames_do_not_see_each_other() -> None:
    neighbours = Neighbours(10)
    neighbours.add(b"one", unit(1), "1", key(1))
    assert neighbours.nearest(b"two", unit(1), 0.5) == []


def test_the_oldest_of_the_least_used_frame_goes_first() -> None:
    neighbours = Neighbours(4)
    for number in range(3):
        neighbours.add(b"old", unit(number), str(number), key(number))
    for number in range(10, 13):
        neighbours.add(b"new", unit(number), str(number), key(number))
    assert len(neighbours) == 4
    assert neighbours.nearest(b"old", unit(0), 0.99) == []
    assert [text for _, text, _ in neighbours.nearest(b"old", unit(2), 0.99)] == ["2"]
