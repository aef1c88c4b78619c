"""How far stated probabilities are from what comes true. The fitting is `engines.calibration`'s.

Source: expected calibration error, Naeini et al. 2015, in the top-label form of Guo et al. 2017.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from smallworks.evaluate.intervals import Floats
from smallworks.types import Record

BINS = 15


def calibration_error(records: Sequence[Record], *, bins: int = BINS) -> float | None:
    """ECE of the answers (0 is perfect), or None where some record has no probabilities."""
    if not records or any(record.probabilities is None for record in records):
        return None
    best = [max((r.probabilities or {}).items(), key=lambda item: item[1]) for r in records]
    right = [label == record.expected for (label, _), record in zip(best, records, strict=True)]
    return ece(np.array([p for _, p in best]), np.array(right, dtype=np.float64), bins=bins)


def ece(confidence: Floats, right: Floats, *, bins: int = BINS) -> float:
    """Mean |accuracy − confidence| over equal-width bins, weighted by rows. Both [n], 0–1."""
    place = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    gap = np.bincount(place, weights=right - confidence, minlength=bins)
    return float(np.abs(gap).sum() / len(confidence))
