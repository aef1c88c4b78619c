"""How far stated probabilities are from what comes true. The fitting is `engines.calibration`'s.

Source: expected calibration error, Naeini et al. 2015, in the top-label form of Guo et al. 2017; what chance
alone makes of it, Bröcker and Smith 2007.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smallworks.evaluate.intervals import LEVEL, Floats, quantile, wilson
from smallworks.types import Estimate, Record

BINS = 15
DRAWS = 4000


@dataclass(frozen=True, kw_only=True)
class Bin:
    """The rows whose confidence is above `low` and at most `high`: what it was on average, what came true."""

    low: float
    high: float
    confidence: float
    right: Estimate


@dataclass(frozen=True, kw_only=True)
class Reliability:
    """`by_chance` is the error that perfect probabilities would show on so few rows; `bins` are not empty."""

    error: Estimate
    by_chance: float
    bins: tuple[Bin, ...]


def calibration_error(records: Sequence[Record], *, bins: int = BINS) -> float | None:
    """ECE of the answers (0 is perfect), or None where some record has no probabilities."""
    said = _said(records)
    return ece(*said, bins=bins) if said else None


def reliability(records: Sequence[Record], *, bins: int = BINS, seed: int = 0) -> Reliability | None:
    """The calibration error with its interval, and the bins; None where a record has no probabilities."""
    said = _said(records)
    return reliability_of(*said, bins=bins, seed=seed) if said else None


def reliability_of(confidence: Floats, right: Floats, *, bins: int = BINS, seed: int = 0) -> Reliability:
    """Both [n], 0–1. The error adds up absolute gaps, so the luck of the rows never cancels: it only adds.

    So the lower end takes away what luck makes of perfect probabilities, the upper end adds the drawn errors'
    spread alone: the interval holds the truth (over the same bins) 95 times in 100 or oftener.
    """
    place, n = _place(confidence, bins), len(confidence)
    count, hits, sure = (np.bincount(place, weights=w, minlength=bins) for w in (None, right, confidence))
    gap = (hits - sure) / n
    share = (hits + 1) / (count + 2)  # never 0 or 1: a few rows that are all right are no certainty
    unit = np.sqrt(count * share * (1 - share)) / n
    noise = unit * np.random.default_rng(seed).standard_normal((DRAWS, bins))
    value = float(np.abs(gap).sum())
    luck, drawn = np.abs(noise).sum(axis=1), np.abs(gap + noise).sum(axis=1)
    low = max(0.0, value - float(np.quantile(luck, (1 + LEVEL) / 2)))
    high = min(1.0, value + quantile(LEVEL) * float(drawn.std()))
    return Reliability(
        error=Estimate(value=value, low=low, high=high, n=n),
        by_chance=float(luck.mean()),
        bins=tuple(
            Bin(
                low=i / bins,
                high=(i + 1) / bins,
                confidence=float(sure[i] / count[i]),
                right=wilson(float(hits[i]), int(count[i])),
            )
            for i in np.flatnonzero(count).tolist()
        ),
    )


def ece(confidence: Floats, right: Floats, *, bins: int = BINS) -> float:
    """Mean |accuracy − confidence| over equal-width bins, weighted by rows. Both [n], 0–1."""
    gap = np.bincount(_place(confidence, bins), weights=right - confidence, minlength=bins)
    return float(np.abs(gap).sum() / len(confidence))


def _place(confidence: Floats, bins: int) -> NDArray[np.int64]:
    place: NDArray[np.int64] = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    return place


def _said(records: Sequence[Record]) -> tuple[Floats, Floats] | None:
    """The confidence of each answer and whether it is right, both [n]."""
    if not records or any(record.probabilities is None for record in records):
        return None
    best = [max((r.probabilities or {}).items(), key=lambda item: item[1]) for r in records]
    right = [label == record.expected for (label, _), record in zip(best, records, strict=True)]
    return np.array([p for _, p in best]), np.array(right, dtype=np.float64)
