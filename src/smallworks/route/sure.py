"""How sure a stage is of what it writes: a signal of its answers and its curve, fitted on rows of their own.

The rows that fit it choose no threshold, so that a promise is shown on rows that had no say in it. Knows
records and scores; knows no bundle.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from smallworks import files
from smallworks.bundle.manifest import Signal, Sureness
from smallworks.engines.sureness import confidence
from smallworks.errors import DataError, install
from smallworks.route.stages import Floats
from smallworks.types import LOSS, Record

Flags = NDArray[np.bool_]

FITTED = 3
"""One row of so many fits the curves; the others choose the thresholds."""
LEAST = 1e-6
"""The most confidence that a signal of 0 has where no row had one so low."""
TOKENS: tuple[Signal, ...] = ("likelihood", "weakest", "margin")


def fitting(records: Sequence[Record]) -> Flags:
    """Which rows fit curves, [n]: told by the row itself, and alike for all rows of a group."""
    keys = [files.hash_value(record.group or record.example_id) for record in records]
    return np.array([int(key[:8], 16) % FITTED == 0 for key in keys])


def confidences(how: Sureness, records: Sequence[Record], before: Sequence[Record] | None = None) -> Floats:
    """How sure the stage is of each answer, [n]; `before` is what it may agree with. −1: not at all."""
    earlier = [record.raw for record in before] if before else [None] * len(records)
    return np.array(
        [
            -1.0 if r.scores.get(LOSS) else confidence(how, r.signals, r.raw, other)
            for r, other in zip(records, earlier, strict=True)
        ]
    )


def fit(
    records: Sequence[Record], good: Flags, rows: Flags, before: Sequence[Record] | None = None
) -> Sureness | None:
    """The signal that best tells answers that are `good` [n] from the others, and its curve, by `rows` [n].

    With `before` it is the agreement with these; else one of the tokens', None where they were not told.
    """
    told = any(record.signals for record in records)
    names: tuple[Signal, ...] = ("agreement",) if before else TOKENS if told else ()
    found = {name: confidences(Sureness(signal=name), records, before) for name in names}
    if not found:
        return None
    if not rows.any():
        raise DataError(f"{len(rows):,} rows are too few to fit anything on.", fix="Give more labelled rows.")
    best = max(found, key=lambda name: parted(found[name][rows], good[rows]))
    return Sureness(signal=best, curve=_curve(found[best][rows], good[rows]))


def parted(values: Floats, good: Flags) -> float:
    """How often a good row has more than a bad one, ties half (the area under the ROC); 0.5 without both."""
    bad = np.sort(values[~good])
    if not len(bad) or not good.any():
        return 0.5
    below, level = (np.searchsorted(bad, values[good], side=side) for side in ("left", "right"))
    return float((below + level).mean() / 2 / len(bad))


def _curve(said: Floats, good: Flags) -> tuple[tuple[float, float], ...]:
    """Isotonic regression of "good" on a signal [n], each flat piece a point in its middle, lines between.

    From (0, 0) and to (1, 1), unless rows are at these ends themselves. What was not told (−1) is left out.
    Targets are smoothed as in `engines.calibration`, so that few rows, all good, do not claim certainty.
    """
    if importlib.util.find_spec("sklearn") is None:
        raise DataError("Calibrating what stages write needs scikit-learn.", fix=install("eval"))
    from sklearn.isotonic import IsotonicRegression

    good, said = good[said >= 0], said[said >= 0]
    if not len(said):
        return ()
    smooth = 1 / (len(said) + 2)
    level = IsotonicRegression().fit_transform(said, np.where(good, 1 - smooth / 2, smooth / 2))
    meant, piece = np.unique(level, return_inverse=True)
    middle = np.bincount(piece, weights=said) / np.bincount(piece)
    if said.max() >= 1.0:
        middle[-1] = 1.0
    points = list(zip(middle.tolist(), meant.tolist(), strict=True))
    first = [(0.0, min(LEAST, points[0][1] / 2))] if points[0][0] > 0.0 else []
    return (*first, *points, *([(1.0, 1.0)] if points[-1][0] < 1.0 else []))
