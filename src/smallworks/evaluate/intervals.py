"""Intervals: Wilson for proportions, a seeded BCa bootstrap for all else, exact binomial tails.

Sources: Wilson 1927; Efron 1987 (BCa), widened for few rows as in Hesterberg 2015; Tango 1998 for the
difference of paired proportions. Knows sums and counts, not records: a metric is a function of summed
row parts, so that equal rows are drawn together (a multinomial over the distinct rows is the bootstrap).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from smallworks.types import Estimate

Floats = NDArray[np.float64]
Statistic = Callable[[Floats], Floats]
"""Summed parts [resamples, parts] → values [resamples]."""

LEVEL = 0.95
RESAMPLES = 1000
BISECTIONS = 50
CELLS = 2**19  # numbers held at once while resampling: 4 MiB a copy


@dataclass(frozen=True, kw_only=True)
class Tally:
    """Distinct rows: `parts` [distinct, parts] is what each adds, `times` [distinct] how often it came."""

    parts: Floats
    times: NDArray[np.int64]

    @property
    def rows(self) -> int:
        return int(self.times.sum())


def quantile(level: float, *, sided: int = 2) -> float:
    """The normal quantile of a level: 1.960 for 0.95 two-sided, 1.645 one-sided."""
    return NormalDist().inv_cdf(1 - (1 - level) / sided)


def wilson(hits: float, n: float, *, level: float = LEVEL) -> Estimate:
    """Wilson's score interval of a proportion: never empty, never outside 0–1, honest at 0 and 1."""
    z = quantile(level)
    share = hits / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    low = 0.0 if hits <= 0 else max(0.0, centre - half)
    high = 1.0 if hits >= n else min(1.0, centre + half)
    return Estimate(value=share, low=low, high=high, n=int(n), level=level)


def paired_difference(only_a: float, only_b: float, n: float, *, level: float = LEVEL) -> Estimate:
    """Share(B) − share(A) of paired 0/1 rows, from the rows where just one is right: Tango's score interval.

    What Wilson's is to one proportion: no disagreement on few rows is not taken for certainty, as a
    bootstrap would take it.
    """
    z, value = quantile(level), (only_b - only_a) / n
    low, high = -1.0, value
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if tango(only_a, only_b, n, middle) > z else (low, middle)
    lower = low
    low, high = value, 1.0
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if tango(only_a, only_b, n, middle) > -z else (low, middle)
    return Estimate(value=value, low=lower, high=high, n=int(n), level=level)


def tango(only_a: float, only_b: float, n: float, supposed: float) -> float:
    """The score statistic were the true difference `supposed`; falls as that grows."""
    b = -only_a - only_b + (2 * n - only_b + only_a) * supposed
    c = -only_a * supposed * (1 - supposed)
    share = (math.sqrt(max(0.0, b * b - 8 * n * c)) - b) / (4 * n)
    variance = n * (2 * share + supposed * (1 - supposed))
    distance = only_b - only_a - n * supposed
    return distance / math.sqrt(variance) if variance > 1e-12 else math.copysign(math.inf, distance)


def bootstrap(
    tally: Tally, statistic: Statistic, *, seed: int = 0, resamples: int = RESAMPLES, level: float = LEVEL
) -> Estimate:
    """The statistic of all rows with its bootstrap interval over seeded resamples; for 0–1 metrics."""
    drawn = resample(tally, statistic, seed=seed, resamples=resamples)
    return from_drawn(tally, statistic, drawn, level=level)


def from_drawn(tally: Tally, statistic: Statistic, drawn: Floats, *, level: float = LEVEL) -> Estimate:
    """The estimate of a 0–1 metric from its resampled values.

    Where the rows are all alike, the resamples do not vary and would claim certainty: Wilson's interval
    stands in, whose variance is the most that a bounded value can have.
    """
    value = float(statistic(total(tally))[0])
    if np.ptp(drawn) < 1e-12:
        return wilson(value * tally.rows, tally.rows, level=level)
    low, high = accelerated(tally, statistic, drawn, level=level)
    return Estimate(value=value, low=min(low, value), high=max(high, value), n=tally.rows, level=level)


def accelerated(
    tally: Tally, statistic: Statistic, drawn: Floats, *, level: float = LEVEL
) -> tuple[float, float]:
    """BCa ends of the resampled values `drawn`: percentiles moved for bias and skew, for few rows widened.

    Scores crowd near 1, and plain percentiles then let a candidate pass its target 8 to 11 times in a
    hundred where 5 are meant; these keep to it from about 50 rows.
    """
    normal, rows = NormalDist(), tally.rows
    value = statistic(total(tally))[0]
    below = float((drawn < value).mean() + (drawn == value).mean() / 2)
    bias = normal.inv_cdf(min(max(below, 1 / len(drawn)), 1 - 1 / len(drawn)))
    skew = _acceleration(tally, statistic)
    reach = student(quantile(level), rows - 1) * math.sqrt(rows / (rows - 1))
    ends = [bias + z for z in (-reach, reach)]
    shares = [normal.cdf(bias + z / max(0.1, 1 - skew * z)) for z in ends]
    low, high = np.quantile(drawn, shares)
    return float(low), float(high)


def _acceleration(tally: Tally, statistic: Statistic) -> float:
    """The skewness of the rows' influence over six, by leaving out each distinct row once."""
    left_out = statistic(total(tally) - tally.parts)
    influence = np.average(left_out, weights=tally.times) - left_out
    spread = float((tally.times * influence**2).sum())
    return float((tally.times * influence**3).sum()) / (6 * spread**1.5) if spread > 0 else 0.0


def student(z: float, freedom: int) -> float:
    """Student's quantile from the normal one (Cornish–Fisher; within 1 % from 5 degrees of freedom)."""
    return z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)


def total(tally: Tally) -> Floats:
    """Summed parts of the rows as they are, shape [1, parts]."""
    sums: Floats = tally.times[None, :].astype(np.float64) @ tally.parts
    return sums


def resample(tally: Tally, statistic: Statistic, *, seed: int, resamples: int) -> Floats:
    """The statistic on rows drawn with replacement, [resamples, …] as it gives; memory stays bounded."""
    rng = np.random.default_rng(seed)
    owner = np.repeat(np.arange(len(tally.times)), tally.times)
    width = max(len(owner) if _scattered(tally) else len(tally.times), tally.parts.shape[1])
    step = max(1, CELLS // width)
    values = []
    for start in range(0, resamples, step):
        size = min(step, resamples - start)
        times = _draw(rng, tally, owner, size)
        values.append(statistic(times.astype(np.float64) @ tally.parts))
    return np.concatenate(values)


def _scattered(tally: Tally) -> bool:
    """Whether most rows are distinct: then counting drawn rows beats a multinomial over all of them."""
    return 4 * len(tally.times) > tally.rows


def _draw(rng: np.random.Generator, tally: Tally, owner: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """How often each distinct row comes in each of `size` resamples, shape [size, distinct]."""
    distinct, rows = len(tally.times), len(owner)
    if not _scattered(tally):
        return rng.multinomial(rows, tally.times / rows, size=size)
    drawn = owner[rng.integers(rows, size=(size, rows))] + distinct * np.arange(size)[:, None]
    return np.bincount(drawn.ravel(), minlength=size * distinct).reshape(size, distinct)


def at_most(k: int, n: int, p: float) -> float:
    """P(X ≤ k) for X binomial(n, p), exact to about 1e-10 up to a million rows."""
    if k < 0 or k >= n or p <= 0.0 or p >= 1.0:
        return float(k >= n or (k >= 0 and p <= 0.0))
    if k > n * p:
        return 1.0 - at_most(n - k - 1, n, 1.0 - p)
    log_term = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
    term = math.exp(log_term + k * math.log(p) + (n - k) * math.log1p(-p))
    summed, odds = 0.0, (1.0 - p) / p
    while k >= 0 and term > summed * 1e-17:
        summed += term
        term *= k / (n - k + 1) * odds
        k -= 1
    return min(1.0, summed)


def at_least(k: int, n: int, p: float) -> float:
    """P(X ≥ k) for X binomial(n, p)."""
    return at_most(n - k, n, 1.0 - p)
