"""Whether scores show a mean, exactly at any number of rows: by betting against the opposite.

Who bets on each row in turn, never more than can be lost, and sees only the rows before, multiplies the stake
by `1 / luck` at most as often as `luck` if the mean is 0 or less. Source: Waudby-Smith and Ramdas 2024
(arXiv 2010.09686). Knows numbers; knows no stage, no threshold and no promise.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

MOST_STAKED = 0.75
"""The part of the stake that a single row may cost."""
FEWEST = 20
"""Fewer rows than this are not worth naming."""
PRIOR = 0.05
"""The variance that is taken for granted before the first row, as one row more."""


def shows(excess: Floats, *, most_lost: float, luck: float, design: float = 1.0) -> bool:
    """Whether the mean of `excess` [n] is above 0; wrong at most as often as `luck`.

    No row has less than −`most_lost`. `design` rows tell as much as one. The rows are shuffled by a fixed
    seed: however a file is sorted, none of it is learned from.
    """
    return _wealth(_shuffled(excess), most_lost, luck, design) >= -math.log(luck)


def rows_for(excess: Floats, *, most_lost: float, luck: float, most: int, growth: float) -> int | None:
    """About how many rows like these would show it, by a factor of `growth`; None past `most`."""
    if excess.mean() <= 0:
        return None
    rows = _shuffled(excess)

    def show(n: int) -> bool:
        return _wealth(np.resize(rows, n), most_lost, luck, 1.0) >= -math.log(luck)

    few, n = 0, FEWEST
    while not show(n):
        if n == most:
            return None
        few, n = n, min(2 * n, most)
    while few and n > few * growth + 1:
        middle = (few + n) // 2
        few, n = (few, middle) if show(middle) else (middle, n)
    return n


def _wealth(excess: Floats, most_lost: float, luck: float, design: float) -> float:
    """The logarithm of the most that a stake of 1 came to."""
    n = len(excess)
    seen = np.arange(1, n + 1)
    mean = np.cumsum(excess) / seen
    spread = (PRIOR + np.cumsum((excess - mean) ** 2)) / seen
    before = np.concatenate([[PRIOR], spread[:-1]])
    bet = np.minimum(np.sqrt(-2 * math.log(luck) * design / (n * before)), MOST_STAKED / most_lost)
    return float(np.cumsum(np.log1p(bet * excess)).max() / design)


def _shuffled(excess: Floats) -> Floats:
    return np.random.default_rng(0).permutation(excess)
