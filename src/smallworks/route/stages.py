"""The stages of a cascade as rows: how sure each is, whether it is right, what it costs.

Knows records and arrays; knows no bundle and no threshold.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from smallworks.errors import DataError
from smallworks.types import LOSS, Record

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
SCORE = "accuracy"
"""The score that tells right from wrong."""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One stage on n rows: `confidence` [n] 0–1 and calibrated, `right` [n]; all in one order of rows.

    `cost` is dollars and `ms` milliseconds of one request that reaches it.
    """

    name: str
    confidence: Floats
    right: Flags
    cost: float
    ms: float


def stages_of(
    records: Sequence[Sequence[Record]], names: Sequence[str], costs: Sequence[float], ms: Sequence[float]
) -> tuple[Stage, ...]:
    """Stages from the records of each, cheap to dear. Raises DataError where they are not of the same rows.

    The confidence is the calibrated probability of the label that was said; where there are none, which only
    the last stage may be, it is 1.
    """
    if len(records) < 2:
        raise DataError("A cascade of one stage hands nothing over.", fix="Name two stages or more.")
    _check_same(records, names)
    for name, done in zip(names[:-1], records[:-1], strict=True):
        if any(record.probabilities is None for record in done):
            raise DataError(
                f"'{name}' gives no probabilities, so nothing tells when it should hand over.",
                fix="Put it last, or leave it out.",
            )
    return tuple(
        Stage(
            name=name,
            confidence=np.array([confidence(record) for record in done]),
            right=np.array([record.scores.get(SCORE, 0.0) >= 1.0 for record in done]),
            cost=cost,
            ms=took,
        )
        for name, done, cost, took in zip(names, records, costs, ms, strict=True)
    )


def confidence(record: Record) -> float:
    """The probability of what was said; 1 where no probabilities are given.

    -1 where it was kept back: below every threshold, 0 too.
    """
    if record.scores.get(LOSS):
        return -1.0
    return max(record.probabilities.values()) if record.probabilities else 1.0


def design(groups: Sequence[str]) -> float:
    """How many rows tell as much as one that stands alone, if all rows of a group went the same way.

    The mean size of the group that a row is in (Kish 1965); 1 where every row stands alone ('').
    """
    if not groups:
        return 1.0
    sizes = Counter(group for group in groups if group)
    return (sum(size * size for size in sizes.values()) + sum(not g for g in groups)) / len(groups)


def _check_same(records: Sequence[Sequence[Record]], names: Sequence[str]) -> None:
    if not records[0]:
        raise DataError(f"'{names[0]}' has no records.", fix="Give labelled rows.")
    for (a, first), (b, second) in pairwise(zip(names, records, strict=True)):
        if [(r.example_id, r.expected) for r in first] != [(r.example_id, r.expected) for r in second]:
            raise DataError(
                f"'{a}' and '{b}' were not measured on the same rows ({len(first):,} and {len(second):,}).",
                fix="Measure every stage on the same rows in the same order.",
            )
