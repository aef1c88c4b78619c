"""Reciprocal-rank fusion: several rankings as one, by places alone. Scores of different kinds never meet."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

DAMPING = 60
"""The constant of Cormack, Clarke and Büttcher (SIGIR 2009): how little the first places stand out."""


def fused(rankings: Sequence[Sequence[int]]) -> list[tuple[int, float]]:
    """(id, score), the best first; a place r counts 1 / (60 + r) in each ranking that has the id."""
    scores: dict[int, float] = defaultdict(float)
    for ranking in rankings:
        for place, one in enumerate(ranking, 1):
            scores[one] += 1 / (DAMPING + place)
    return sorted(scores.items(), key=lambda item: (-item[1], item[0]))
