"""Exact tails of counted rows: one proportion, and the difference of two that are paired.

Sources: Clopper and Pearson 1934; the nuisance parameter of the paired difference by Berger and Boos 1994.
Knows counts; knows no stage, no threshold and no file.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

BISECTIONS = 34
REACH = 6.0
"""Standard deviations within which tails are summed; what is left out (2e-9) counts against the claim."""
LEFT_OUT = 2e-9
DISAGREEING = 2
"""Shares of disagreeing rows at which a tail is looked at, the largest possible one among them."""
CHERNOFF = 400
SPENT = 5
"""A fifth of the luck bounds the disagreeing rows; less or more asks for more rows."""


@lru_cache(maxsize=64)
def _log_factorials(most: int) -> Floats:
    """log k! for k = 0 … most."""
    return np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, most + 1, dtype=np.float64)))])


def at_most(k: int, n: int, p: float) -> float:
    """P(X ≤ k) for X binomial(n, p)."""
    if k >= n or p <= 0.0:
        return float(k >= 0)
    if k < 0 or p >= 1.0:
        return 0.0
    logs, x = _log_factorials(n), np.arange(k + 1)
    terms = logs[n] - logs[x] - logs[n - x] + x * math.log(p) + (n - x) * math.log1p(-p)
    return min(1.0, float(np.exp(terms).sum()))


def at_least(k: int, n: int, p: float) -> float:
    """P(X ≥ k) for X binomial(n, p)."""
    return at_most(n - k, n, 1.0 - p)


@lru_cache(maxsize=4096)
def upper(k: int, n: int, luck: float) -> float:
    """The largest share that `k` of `n` rows leave plausible: Clopper and Pearson's one-sided bound."""
    if k >= n:
        return 1.0
    low, high = k / n, 1.0
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if at_most(k, n, middle) > luck else (low, middle)
    return high


def lower(k: int, n: int, luck: float) -> float:
    """The smallest share that `k` of `n` rows leave plausible."""
    return 1.0 - upper(n - k, n, luck)


def more_than(hits: int, n: int, share: float, *, luck: float) -> bool:
    """Whether `hits` of `n` rows show that the share is `share` or more; wrong at most so often."""
    return hits > n * share and at_least(hits, n, share) <= luck


def within(losses: int, gains: int, n: int, margin: float, *, luck: float) -> bool:
    """Whether rows show that losses minus gains are less than `margin` of all; wrong at most so often, any n.

    How many rows disagree is not known. A share above its own upper bound is left out, at a fifth of the
    luck; of those below it the worst counts, with the rest.
    """
    if losses - gains >= n * margin:
        return False
    spent = luck / SPENT
    most = upper(losses + gains, n, spent)
    if most <= margin or _chernoff(losses - gains, n, most, margin) <= luck - spent:
        return True
    shares = np.linspace(most, margin, DISAGREEING, endpoint=False)
    return all(_difference_at_most(losses - gains, n, float(s), margin) <= luck - spent for s in shares)


def _chernoff(d: int, n: int, disagreeing: float, margin: float) -> float:
    """An upper bound of P(losses − gains ≤ d) at that share of disagreeing rows and at every smaller one.

    Losing equally much on more rows only spreads the difference, and so only raises this bound.
    """
    s = np.linspace(0.0, 8.0, CHERNOFF)
    loss, gain = (disagreeing + margin) / 2, (disagreeing - margin) / 2
    logs = n * np.log1p(loss * np.expm1(-s) + gain * np.expm1(s)) + s * d
    return float(np.exp(np.min(logs)))


def _difference_at_most(d: int, n: int, disagreeing: float, margin: float) -> float:
    """P(losses − gains ≤ d), with rows disagreeing at that share and losing `margin` more than they gain.

    The number of disagreeing rows is binomial, and so are the losses among them.
    """
    if disagreeing >= 1.0:
        disagreeing = 1.0 - 1e-12
    loss = (disagreeing + margin) / 2 / disagreeing
    centre, reach = n * disagreeing, REACH * math.sqrt(n * disagreeing * (1 - disagreeing)) + REACH
    rows = np.arange(max(0, math.floor(centre - reach)), min(n, math.ceil(centre + reach)) + 1)
    logs = _log_factorials(n)
    weight = logs[n] - logs[rows] - logs[n - rows]
    weight = np.exp(weight + rows * math.log(disagreeing) + (n - rows) * math.log1p(-disagreeing))
    return min(1.0, float(weight @ _losses_at_most(rows, (rows + d) // 2, loss)) + LEFT_OUT)


def _losses_at_most(rows: NDArray[np.int64], k: NDArray[np.int64], loss: float) -> Floats:
    """P(X ≤ k) for X binomial(rows, loss), element by element; terms far below the mean are left out."""
    if loss >= 1.0:
        return (k >= rows).astype(np.float64)
    most = int(rows[-1])
    logs = _log_factorials(most)
    width = int(2 * REACH * math.sqrt(most * loss * (1 - loss)) + 2 * REACH)
    x = k[:, None] - np.arange(width)[None, :]
    inside = (x >= 0) & (x <= rows[:, None])
    x = np.where(inside, x, 0)
    n = rows[:, None]
    terms = logs[n] - logs[x] - logs[n - x] + x * math.log(loss) + (n - x) * math.log1p(-loss)
    summed = np.where(inside, np.exp(terms), 0.0).sum(axis=1)
    return np.where(k >= rows, 1.0, np.minimum(1.0, summed))
