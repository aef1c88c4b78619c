"""How well a search ranks what belongs to a question: recall@k, reciprocal rank, nDCG. Pure; knows no search.

A ranking is ids, the best first, none twice. Relevance is yes or no. Definitions as in trec_eval: recall@k
is the share of the relevant that stands among the first k, nDCG discounts place r by log2(r + 1).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Hashable, Mapping, Sequence
from functools import partial

import numpy as np

from smallworks.evaluate.intervals import LEVEL, Tally, bootstrap, quantile, student, wilson
from smallworks.types import Estimate, Source

DEPTHS = (1, 5, 10)
ROWS = ("recall@k", "mrr@k", "ndcg@k")
"""The scores of a row that was answered from k passages."""
Ranking = Sequence[Hashable]
LEAST = 20
"""Questions from which on a gain can be shown: Student's interval of two that gain alike has no width."""


def recall_at(k: int, ranking: Ranking, relevant: Collection[Hashable]) -> float:
    return len(set(ranking[:k]) & set(relevant)) / len(set(relevant))


def reciprocal_rank(k: int, ranking: Ranking, relevant: Collection[Hashable]) -> float:
    """One over the place of the first relevant one; 0 where the first k have none."""
    places = (place for place, one in enumerate(ranking[:k], 1) if one in relevant)
    return 1 / next(places, math.inf)


def ndcg_at(k: int, ranking: Ranking, relevant: Collection[Hashable]) -> float:
    """Discounted gain over that of the best ranking there could be."""
    found = sum(1 / math.log2(place + 1) for place, one in enumerate(ranking[:k], 1) if one in relevant)
    best = sum(1 / math.log2(place + 1) for place in range(1, min(k, len(set(relevant))) + 1))
    return found / best


def found(sources: Sequence[Source] | None, relevant: Collection[str]) -> dict[str, float]:
    """The scores of one row: its relevant documents among those of the k passages that were found for it.

    Empty where nothing was searched, or no document is told to be relevant.
    """
    if sources is None or not relevant:
        return {}
    return found_in([source.document for source in sources], relevant)


def found_in(documents: Sequence[str], relevant: Collection[str]) -> dict[str, float]:
    """The same, from the documents of the passages in their order; one that has several counts once."""
    ranking = list(dict.fromkeys(documents))
    parts = zip(ROWS, (recall_at, reciprocal_rank, ndcg_at), strict=True)
    return {name: part(max(1, len(ranking)), ranking, relevant) for name, part in parts}


def measured(rankings: Sequence[Ranking], relevant: Sequence[Collection[Hashable]]) -> Mapping[str, Estimate]:
    """Every metric as a mean over questions, with its interval. Each question needs something relevant."""
    deepest = DEPTHS[-1]
    parts = {
        **{f"recall@{k}": partial(recall_at, k) for k in DEPTHS},
        f"mrr@{deepest}": partial(reciprocal_rank, deepest),
        f"ndcg@{deepest}": partial(ndcg_at, deepest),
    }
    pairs = list(zip(rankings, relevant, strict=True))
    return {name: _mean([part(*pair) for pair in pairs]) for name, part in parts.items()}


def gain(before: Sequence[float], after: Sequence[float]) -> Estimate:
    """The mean of what each question gained, with Student's interval of paired differences.

    Scores are 0 to 1. Of fewer questions than LEAST it is all that a gain can be, −1 to 1.
    """
    lead = np.array(after, dtype=np.float64) - np.array(before, dtype=np.float64)
    n, value = len(lead), float(lead.mean())
    if n < LEAST:
        return Estimate(value=value, low=-1.0, high=1.0, n=n, level=LEVEL)
    half = student(quantile(LEVEL), n - 1) * float(lead.std(ddof=1)) / math.sqrt(n)
    return Estimate(value=value, low=value - half, high=value + half, n=n, level=LEVEL)


def _mean(values: Sequence[float]) -> Estimate:
    distinct, times = np.unique(np.array(values, dtype=np.float64), return_counts=True)
    if set(distinct) <= {0.0, 1.0} or len(values) < 2:
        return wilson(sum(values), len(values))
    tally = Tally(parts=np.column_stack([distinct, np.ones(len(distinct))]), times=times)
    return bootstrap(tally, lambda sums: sums[:, 0] / sums[:, 1])
