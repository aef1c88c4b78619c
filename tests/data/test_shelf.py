"""Texts in memory and on disk read back as they were put."""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smallworks.data.shelf import Shelf

TEXTS = st.lists(st.text(max_size=20), max_size=30)


@given(TEXTS, st.integers(0, 60), st.slices(30))
def test_it_reads_like_a_list(texts: list[str], memory: int, part: slice) -> None:
    shelf = Shelf(memory)
    for text in texts:
        shelf.append(text)
    assert list(shelf) == texts and len(shelf) == len(texts)
    assert [shelf[at] for at in range(len(texts))] == texts
    if part.step is None or part.step > 0:
        assert shelf[part] == texts[part]


def test_reading_and_appending_take_turns() -> None:
    shelf = Shelf(0)
    for number in range(100):
        shelf.append(f"text {number}")
        assert shelf[number // 2] == f"text {number // 2}"
    with pytest.raises(IndexError):
        shelf[100]


def test_long_texts_take_no_memory() -> None:
    tracemalloc.start()
    shelf = Shelf(100_000)
    for number in range(200):
        shelf.append(f"{number} " + "x" * 100_000)
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert held < 2_000_000 and shelf[150].startswith("150 ")
