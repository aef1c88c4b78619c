"""How far a smaller form answers from the one it was made of: flipped answers, divergence of distributions.

Kullback–Leibler divergence in nats, of the smaller form from the reference: Σ p · ln(p / q), row by row.
Knows records and distributions; knows nothing of engines or of right and wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from smallworks.evaluate.clusters import groups_of, share
from smallworks.evaluate.intervals import wilson
from smallworks.evaluate.latency import percentile
from smallworks.evaluate.records import by_id
from smallworks.types import Estimate, Record

LEAST = 1e-30
"""Probability below which none is taken, so that an underflow is large and not infinite."""


@dataclass(frozen=True, kw_only=True)
class Divergence:
    """Nats over so many rows."""

    mean: float
    p99: float
    rows: int


def flipped(reference: Sequence[Record], other: Sequence[Record]) -> Estimate:
    """The share of rows that both have and answer differently, right or wrong."""
    said = by_id(other, "the other")
    pairs = [(record, said[record.example_id]) for record in reference if record.example_id in said]
    differ = np.array([a.raw != b.raw for a, b in pairs], dtype=np.float64)
    groups = groups_of([a.group for a, _ in pairs])
    return share(differ, groups) if groups else wilson(float(differ.sum()), len(pairs))


def label_distributions(records: Sequence[Record]) -> list[list[float]] | None:
    """Label probabilities by row, rows and labels sorted; None where some row has none."""
    rows = sorted(records, key=lambda record: record.example_id)
    if any(record.probabilities is None for record in rows):
        return None
    return [[p for _, p in sorted((record.probabilities or {}).items())] for record in rows]


def divergence(reference: Sequence[Sequence[float]], other: Sequence[Sequence[float]]) -> Divergence:
    """Of two lists of distributions, row by row over the same outcomes."""
    nats = [_nats(np.array(p), np.array(q)) for p, q in zip(reference, other, strict=True)]
    return Divergence(mean=float(np.mean(nats)), p99=percentile(nats, 0.99), rows=len(nats))


def _nats(p: np.ndarray, q: np.ndarray) -> float:
    """Zero or more; outcomes that the reference rules out do not count."""
    counted = p > 0
    ratio = np.log(p[counted]) - np.log(np.maximum(q[counted], LEAST))
    return max(0.0, float((p[counted] * ratio).sum()))
