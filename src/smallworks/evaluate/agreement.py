"""How far people agree who judged the same things: Krippendorff's alpha, and Cohen's kappa of any two.

1 is full agreement, 0 what chance would give, below 0 worse than that. Sources: Krippendorff 2011 ("Computing
Krippendorff's Alpha-Reliability"), Cohen 1960. Knows ratings; knows nothing of what was rated.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np

from smallworks.evaluate.intervals import Floats, Tally, accelerated, resample, total

Measure = Literal["nominal", "ordinal", "interval"]
"""What a difference of two ratings is: any, the ranks between them, or their distance squared."""
RESAMPLES = 1000


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """`alpha` with its 95 % interval over things judged by two or more; None where nothing differs at all.

    The ends are None where the things at hand do not vary enough to tell. `kappa` is of each pair of raters.
    """

    alpha: float | None
    low: float | None
    high: float | None
    things: int
    kappa: Mapping[str, float | None]


def agreement(
    ratings: Mapping[str, Mapping[str, float]], *, measure: Measure = "nominal", seed: int = 0
) -> Agreement:
    """`ratings` are rater → thing → value; a thing that a rater left out is missing, not wrong."""
    things: dict[str, list[float]] = {}
    for given in ratings.values():
        for thing, value in given.items():
            things.setdefault(thing, []).append(value)
    units = [values for values in things.values() if len(values) >= 2]
    pairs = {f"{a}, {b}": _kappa(ratings[a], ratings[b]) for a, b in combinations(ratings, 2)}
    found, low, high = _bounded(units, measure, seed)
    return Agreement(alpha=found, low=low, high=high, things=len(units), kappa=pairs)


def alpha(units: Sequence[Sequence[float]], measure: Measure = "nominal") -> float | None:
    """Krippendorff's alpha of things with two or more values each; None where all values are alike."""
    if not units:
        return None
    tally, scale = _coincidences(units), _scale(units)
    value = float(_alpha(total(tally), scale, measure)[0])
    return None if np.isnan(value) else value


def kappa(a: Sequence[float], b: Sequence[float]) -> float | None:
    """Cohen's kappa of two raters on the same things; None where both always say the same one."""
    if not a:
        return None
    values = sorted({*a, *b})
    seen = sum(x == y for x, y in zip(a, b, strict=True)) / len(a)
    chance = sum(a.count(v) * b.count(v) for v in values) / len(a) ** 2
    return None if chance == 1 else (seen - chance) / (1 - chance)


def _kappa(a: Mapping[str, float], b: Mapping[str, float]) -> float | None:
    both = [thing for thing in a if thing in b]
    return kappa([a[thing] for thing in both], [b[thing] for thing in both])


def _bounded(
    units: Sequence[Sequence[float]], measure: Measure, seed: int
) -> tuple[float | None, float | None, float | None]:
    """Alpha and its bootstrap interval over whole things."""
    value = alpha(units, measure)
    if value is None or len(units) < 3:
        return value, None, None
    tally, scale = _coincidences(units), _scale(units)

    def statistic(sums: Floats) -> Floats:
        # Resamples in which all values are alike say nothing against agreement.
        return np.nan_to_num(_alpha(sums, scale, measure), nan=1.0)

    drawn = resample(tally, statistic, seed=seed, resamples=RESAMPLES)
    if np.ptp(drawn) < 1e-12:
        return value, None, None
    low, high = accelerated(tally, statistic, drawn)
    return value, min(low, value), min(1.0, max(high, value))


def _scale(units: Sequence[Sequence[float]]) -> Floats:
    return np.array(sorted({value for unit in units for value in unit}), dtype=np.float64)


def _coincidences(units: Sequence[Sequence[float]]) -> Tally:
    """Each thing's ordered pairs of values over (number of its values − 1), flattened: [things, values²]."""
    scale = _scale(units)
    parts = np.zeros((len(units), len(scale), len(scale)))
    for at, unit in enumerate(units):
        counts = (np.array(unit)[:, None] == scale).sum(axis=0).astype(np.float64)
        parts[at] = (np.outer(counts, counts) - np.diag(counts)) / (len(unit) - 1)
    return Tally(parts=parts.reshape(len(units), -1), times=np.ones(len(units), dtype=np.int64))


def _alpha(sums: Floats, scale: Floats, measure: Measure) -> Floats:
    """Alpha of summed coincidences [resamples, values²]; nan where all values are alike."""
    pairs = sums.reshape(-1, len(scale), len(scale))
    counts = pairs.sum(axis=2)
    n = counts.sum(axis=1)
    apart = _apart(counts, scale, measure)
    seen = (pairs * apart).sum(axis=(1, 2))
    expected = (counts[:, :, None] * counts[:, None, :] * apart).sum(axis=(1, 2))
    share = np.full(len(n), np.nan)
    np.divide((n - 1) * seen, expected, out=share, where=expected > 0)
    value: Floats = 1 - share
    return value


def _apart(counts: Floats, scale: Floats, measure: Measure) -> Floats:
    """The squared difference of every two values, [resamples or 1, values, values]."""
    if measure == "nominal":
        return (1 - np.eye(len(scale)))[None]
    if measure == "interval":
        return ((scale[:, None] - scale[None, :]) ** 2)[None]
    # Ordinal: the values counted between two, each end by half.
    ranks = np.cumsum(counts, axis=1) - counts / 2
    value: Floats = (ranks[:, :, None] - ranks[:, None, :]) ** 2
    return value
