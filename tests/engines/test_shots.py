"""Few-shot examples: the nearest by brute force, the same after a trip over the disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smallworks.engines.ngrams import FAMILIES, learn
from smallworks.engines.shots import ShotFinder, read_pool, write_pool

POOL = [
    ("The export button does nothing", "bug"),
    ("Please add an export button", "feature"),
    ("How do I export my data?", "question"),
    ("Crash on start", "bug"),
    ("", "question"),
    ("深色模式 请", "feature"),
]
TEXT = st.text("abc de", max_size=14)


def brute_force(pool: list[tuple[str, str]], text: str) -> np.ndarray:
    """Sum of both cosines of the text with every row of the pool."""
    scores = np.zeros(len(pool))
    for family in FAMILIES:
        block = learn([row for row, _ in pool], family)
        dense = np.zeros((len(pool) + 1, len(block.idf)))
        for i, row in enumerate([*(row for row, _ in pool), text]):
            columns, weights = block.row(row)
            dense[i, columns] = weights
        scores += dense[:-1] @ dense[-1]
    return scores


@given(rows=st.lists(TEXT, min_size=1, max_size=8), text=TEXT, count=st.integers(0, 10))
def test_the_nearest_are_those_of_brute_force(rows: list[str], text: str, count: int) -> None:
    pool = [(row, str(i)) for i, row in enumerate(rows)]
    found = ShotFinder(pool).nearest(text, count)
    scores = brute_force(pool, text)
    others = [score for score, row in zip(scores, rows, strict=True) if row.strip() != text.strip()]
    assert len(set(found)) == len(found) == min(count, len(others))
    chosen = [scores[int(answer)] for _, answer in found]
    assert chosen == sorted(chosen)
    assert chosen == pytest.approx(sorted(others)[len(others) - len(chosen) :], abs=1e-6)


def test_the_input_itself_is_never_its_own_example() -> None:
    text, answer = POOL[0]
    assert (text, answer) not in ShotFinder(POOL).nearest(f" {text}", len(POOL))


def test_the_most_alike_stands_last_beside_the_question() -> None:
    shots = ShotFinder(POOL).nearest("the export button does not work", 2)
    assert shots == (POOL[1], POOL[0])


def test_a_text_like_none_still_gets_its_shots() -> None:
    assert len(ShotFinder(POOL).nearest("zzz", 4)) == 4


def test_a_pool_without_words_gives_rows_all_the_same() -> None:
    assert len(ShotFinder([("", "a"), ("?", "b")]).nearest("text", 2)) == 2


def test_the_choice_is_the_same_after_the_disk(tmp_path: Path) -> None:
    write_pool(tmp_path, POOL)
    here, there = ShotFinder(POOL), read_pool(tmp_path)
    assert there.pool == here.pool
    for text, _ in POOL:
        assert there.nearest(text, 3) == here.nearest(text, 3)
