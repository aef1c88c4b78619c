"""The order of rows: by seed and epoch alone, every row once, like lengths together."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from smallworks.tune.order import Order


@given(st.lists(st.integers(1, 500), min_size=1, max_size=200), st.integers(1, 16), st.integers(0, 3))
def test_every_row_comes_once(lengths: list[int], batch_size: int, seed: int) -> None:
    assert sorted(Order(lengths, batch_size=batch_size, seed=seed)) == list(range(len(lengths)))


def test_the_seed_and_the_epoch_fix_it() -> None:
    lengths = list(range(100))
    first, again, other = (Order(lengths, batch_size=8, seed=seed) for seed in (0, 0, 1))
    assert list(first) == list(again) != list(other)
    again.set_epoch(1)
    assert list(first) != list(again)


def test_little_is_padded() -> None:
    lengths = [(37 * i) % 200 + 1 for i in range(512)]
    order = list(Order(lengths, batch_size=8, seed=0))
    batches = [[lengths[row] for row in order[at : at + 8]] for at in range(0, 512, 8)]
    padded = sum(8 * max(batch) for batch in batches)
    assert padded < 1.2 * sum(lengths) < 8 * 64 * max(lengths)
