"""The stages of a cascade as rows: how sure each is, how good its answers are, what it costs.

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
SCORE = "accuracy"
"""The score that tells right from wrong where labels are said."""


@dataclass(frozen=True, kw_only=True)
class Gate:
    """What stands before the first stage: `skips` [n] sends a row to the last stage at once. All rows pay it.

    `cost` is dollars and `ms` milliseconds of one request.
    """

    skips: NDArray[np.bool_]
    cost: float
    ms: float


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One stage on n rows: `confidence` [n] 0–1 and calibrated, `score` [n] 0–1; of a right label 1.

    Rows are in one order. `cost` is dollars and `ms` milliseconds of one request that reaches it. Only the
    first has a `gate`.
    """

    name: str
    confidence: Floats
    score: Floats
    cost: float
    ms: float
    gate: Gate | None = None


def stages_of(
    records: Sequence[Sequence[Record]],
    names: Sequence[str],
    costs: Sequence[float],
    ms: Sequence[float],
    *,
    score: str = SCORE,
    confidences: Sequence[Floats] = (),
) -> tuple[Stage, ...]:
    """Stages from the records of each, cheap to dear. Raises DataError where they are not of the same rows.

    `score` names what a record says of how good its answer is. `confidences` are those of each stage but the
    last; by default the calibrated probability of the label that was said. That of the last stage is 1 where
    it has none.
    """
    if len(records) < 2:
        raise DataError("A cascade of one stage hands nothing over.", fix="Name two stages or more.")
    _check_same(records, names)
    for name, done in zip(names[:-1], records[:-1], strict=True):
        if not confidences and any(record.probabilities is None for record in done):
            raise DataError(
                f"'{name}' gives no probabilities, so nothing tells when it should hand over.",
                fix="Put it last, or leave it out.",
            )
    return tuple(
        Stage(
            name=name,
            confidence=confidences[i] if i < len(confidences) else confidence_of(done),
            score=scores_of(done, score),
            cost=cost,
            ms=took,
        )
        for i, (name, done, cost, took) in enumerate(zip(names, records, costs, ms, strict=True))
    )


def scores_of(records: Sequence[Record], score: str) -> Floats:
    """How good each answer is, [n], 0–1."""
    return np.array([record.scores.get(score, 0.0) for record in records])


def confidence_of(records: Sequence[Record]) -> Floats:
    return np.array([confidence(record) for record in records])


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
