"""How likely the passages that were found hold the answer: a probability, and a threshold to speak from.

Two signals that mean the same in every index. Coverage: the share of what the question asks for that stands
in one passage, rare words counting more. Nearness: the cosine of the nearest passage. A logistic curve
joins them. Fitted on validation questions, each asked once more with its own documents hidden, so that what
is missing is known; else the defaults, which were fitted so on the even articles of XQuAD (LOG.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from smallworks.rag.search import Hit, Index
from smallworks.text.sentences import sentences

LEAST = 20
"""Questions of each sort that a fit takes at least; with fewer the defaults are kept."""
RIDGE = 1.0
STEPS = 50


@dataclass(frozen=True, kw_only=True)
class Signals:
    """`coverage` 0–1; `nearness` -1 to 1, None without vectors."""

    coverage: float
    nearness: float | None = None


@dataclass(frozen=True, kw_only=True)
class Curve:
    """P(answerable) = 1 / (1 + exp(-(bias + coverage·c + nearness·n))), and from where on to answer.

    `questions` is how many it was fitted on; 0: a default.
    """

    bias: float
    coverage: float
    nearness: float
    threshold: float
    questions: int = 0

    def probability(self, signals: Signals) -> float:
        total = self.bias + self.coverage * signals.coverage + self.nearness * (signals.nearness or 0.0)
        return float(1 / (1 + np.exp(-total)))


WORDS = Curve(bias=-4.47, coverage=8.21, nearness=0.0, threshold=0.5)
"""The default without vectors. On the odd articles of XQuAD: 89 % answered, 87 % declined where hidden."""
BOTH = Curve(bias=-5.31, coverage=6.7, nearness=3.27, threshold=0.5)
"""The default with vectors of all-MiniLM-L6-v2: 91 % and 90 %. Cosines of other embedders differ."""


def signals(index: Index, question: str, hits: Sequence[Hit]) -> Signals:
    """What the hits say of the question. Words that no document has count, and most of all."""
    weights = index.weights(list(index.words.asked(question)))
    total = sum(weights.values())
    if not hits or not total:
        return Signals(coverage=0.0, nearness=0.0 if index.embedder else None)
    stems = map(set, index.words.each([hit.passage.whole for hit in hits]))
    best = max(sum(weight for stem, weight in weights.items() if stem in seen) for seen in stems)
    near = [hit.cosine for hit in hits if hit.cosine is not None]
    return Signals(coverage=best / total, nearness=max(near) if near else None)


def curve_of(index: Index) -> Curve:
    """The one that was fitted on this index and its embedder, else the default."""
    kept = index.store.fact("curve")
    vectors = index.embedder is not None
    if kept and kept["vectors"] == vectors:
        return Curve(**kept["curve"])
    return BOTH if vectors else WORDS


def fit(
    answerable: Sequence[Signals], unanswerable: Sequence[Signals], *, least: int = LEAST
) -> Curve | None:
    """A logistic regression with equal weight for both sorts, ridge-bound; None where there are too few.

    The threshold is 0.5, both sorts being equally likely; raise it where a wrong answer costs more.
    """
    if min(len(answerable), len(unanswerable)) < least:
        return None
    rows = [*answerable, *unanswerable]
    inputs = np.array([[1.0, one.coverage, one.nearness or 0.0] for one in rows])
    wanted = np.array([1.0] * len(answerable) + [0.0] * len(unanswerable))
    half = len(rows) / 2
    weights = np.where(wanted == 1, half / len(answerable), half / len(unanswerable))
    bound = np.diag([1e-6, RIDGE, RIDGE])
    found = np.zeros(3)
    for _ in range(STEPS):
        said = 1 / (1 + np.exp(-inputs @ found))
        slope = inputs.T @ (weights * (wanted - said)) - bound @ found
        bend = (inputs * (weights * said * (1 - said))[:, None]).T @ inputs + bound
        found = found + np.linalg.solve(bend, slope)
    bias, coverage, nearness = map(float, found)
    return Curve(bias=bias, coverage=coverage, nearness=nearness, threshold=0.5, questions=len(rows))


def telling(index: Index, question: str, text: str) -> str:
    """The sentence of a text that holds most of what the question asks for; the first of equal ones."""
    parts = sentences(text)
    weights = index.weights(list(index.words.asked(question)))
    held = [sum(weights.get(stem, 0.0) for stem in set(stems)) for stems in index.words.each(parts)]
    return parts[int(np.argmax(held))] if parts else text
