"""Percentiles of measured times. Knows nothing of what was timed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from smallworks.errors import DataError
from smallworks.evaluate.clusters import Groups, design_effect
from smallworks.evaluate.intervals import LEVEL, at_most, quantile
from smallworks.types import Latency

BLOCKS = 30
"""Stretches of a run that are taken as independent of each other; requests within one are not."""


@dataclass(frozen=True, kw_only=True)
class Percentile:
    """A share `q` (0–1) of the times is at most `value`; `high` is None where too few were timed to tell."""

    q: float
    value: float
    low: float
    high: float | None
    n: int


def percentile(values: Sequence[float], q: float) -> float:
    """Nearest rank: the smallest measured value that at least a share `q` (0–1] of them does not exceed.

    No interpolation, so that a p99 is a time some request really took.
    """
    return sorted(values)[max(0, math.ceil(q * len(values) - 1e-9) - 1)]


def latency(ms: Sequence[float], *, rows: int, seconds: float) -> Latency:
    """From milliseconds per request at batch 1, and `rows` answered in `seconds` in batches."""
    if not ms:
        raise DataError("No request was timed.", fix="Give a test set with at least one row.")
    return Latency(
        p50=percentile(ms, 0.50),
        p95=percentile(ms, 0.95),
        p99=percentile(ms, 0.99),
        n=len(ms),
        rows_per_second=rows / seconds if seconds > 0 else 0.0,
    )


def in_order(values: Sequence[float], q: float, *, level: float = LEVEL) -> Percentile:
    """A percentile of times in the order they came, with its interval.

    The ends are measured times whose ranks hold the true percentile at `level` (binomial, no assumption on
    the shape). Requests under load wait for each other, so slow ones come together: the run is cut into
    BLOCKS stretches and the ranks are those of as many requests as tell the same alone (see `clusters`).
    Source: order statistics, David and Nagaraja 2003, 7.1.
    """
    n, value = len(values), percentile(values, q)
    alone = n
    if n >= 2 * BLOCKS:
        over = np.array([each > value for each in values], dtype=np.float64)
        stretches = Groups(of=np.arange(n) * BLOCKS // n, count=BLOCKS)
        alone = max(1, round(n / design_effect(over, stretches)))
    lower, upper = _ranks(alone, q, (1 - level) / 2)
    ordered, scale = sorted(values), n / alone
    first, last = math.floor(lower * scale), math.ceil(upper * scale)
    return Percentile(
        q=q,
        value=value,
        low=min(value, ordered[first - 1]) if first >= 1 else 0.0,
        high=max(value, ordered[last - 1]) if last <= n else None,
        n=n,
    )


def _ranks(n: int, q: float, tail: float) -> tuple[int, int]:
    """The largest rank below the true percentile and the smallest above, each wrong a `tail` of times.

    0 and n + 1 where no measured time is so far out.
    """
    reach = quantile(1 - 2 * tail) * math.sqrt(n * q * (1 - q))
    lower, upper = max(0, math.floor(n * q - reach)), min(n + 1, math.ceil(n * q + reach))
    while lower > 0 and at_most(lower - 1, n, q) > tail:
        lower -= 1
    while lower < n and at_most(lower, n, q) <= tail:
        lower += 1
    while upper <= n and at_most(upper - 1, n, q) < 1 - tail:
        upper += 1
    while upper > 1 and at_most(upper - 2, n, q) >= 1 - tail:
        upper -= 1
    return lower, upper
