"""Whether an input belongs to any label at all: how much it seems to, by several scores; the least it must.

Sources: the highest probability, Hendrycks and Gimpel 2017 (arXiv 1610.02136); the highest logit, Hendrycks
and others 2022 (arXiv 1911.11132); energy, Liu and others 2020 (arXiv 2010.03759). Every score is higher for
what seems more in scope. Pure; knows no engine, and of a bundle only its `Scope`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from smallworks.bundle.manifest import SCOPE_SCORES, Scope, ScopeScore

LEAST_OUTSIDE = 20
"""Fewer rows out of scope than this do not choose between scores."""
ROUNDING = 1e-9


@dataclass(frozen=True, kw_only=True)
class ScopeFit:
    """`scope` is None where the rows give no threshold; `why` is the sentence for users in either case.

    `auroc` is how often each score puts a row in scope above one out of it; empty without such rows.
    """

    scope: Scope | None
    why: str
    auroc: Mapping[ScopeScore, float]


def scores(
    logp: np.ndarray, *, logits: np.ndarray | None = None, temperature: float = 1.0
) -> dict[str, np.ndarray]:
    """Each score of every row, [n]. `logp` [n, labels] is calibrated, by a `temperature`.

    `logits` [n, labels] are the model's own, where it has any: their size, which probabilities lose, tells
    too.
    """
    best = np.sort(np.exp(logp), axis=-1)[:, -2:]
    found = {"probability": best[:, 1], "margin": best[:, 1] - best[:, 0]}
    if logits is not None:
        top = logits.max(axis=-1)
        spread = np.exp((logits - top[:, None]) / temperature).sum(axis=-1)
        found |= {"max_logit": top, "energy": top + temperature * np.log(spread)}
    return found


def auroc(inside: np.ndarray, outside: np.ndarray) -> float:
    """How often a value of `inside` [n] is above one of `outside` [m]; a tie counts half."""
    ordered = np.sort(outside)
    below = np.searchsorted(ordered, inside, side="left") + np.searchsorted(ordered, inside, side="right")
    return float(below.mean() / 2 / len(outside))


def fit(
    inside: Mapping[str, np.ndarray],
    outside: Mapping[str, np.ndarray],
    *,
    loss: float,
    label: str | None = None,
) -> ScopeFit:
    """The score and threshold from rows that the model was not fitted on: scores `inside` [n], `outside` [m].

    The threshold is the k-th lowest score in scope, so that a new row in scope falls below it with chance
    k / (n + 1), at most `loss` (split conformal prediction); about so where `inside` are cross-fitted. With
    enough rows out of scope, the score is the one that tells them apart best, and k the one with most recall
    less loss; without, the score is the probability, and k the largest.
    """
    n, m = (len(next(iter(rows.values()), ())) for rows in (inside, outside))
    most = math.floor(loss * (n + 1) + ROUNDING)
    if most < 1:
        least = math.ceil(1 / loss - 1 - ROUNDING)
        why = f"{n:,} held-out rows are too few to lose only {loss:.1%} in scope: that takes {least:,}"
        return ScopeFit(scope=None, why=why, auroc={})
    if m < LEAST_OUTSIDE:
        at = float(np.sort(inside[SCOPE_SCORES[0]])[most - 1])
        few = f"{m} rows out of scope are too few to choose by" if m else "no row out of scope to choose by"
        why = f"abstains where the {SCOPE_SCORES[0]} is below {at:.3g}; {few}"
        return ScopeFit(scope=Scope(score=SCOPE_SCORES[0], at=at, label=label), why=why, auroc={})
    told: dict[ScopeScore, float] = {
        name: auroc(inside[name], outside[name]) for name in SCOPE_SCORES if name in inside
    }
    best = max(told, key=told.__getitem__)
    ordered, beyond = np.sort(inside[best])[:most], np.sort(outside[best])
    gain = np.searchsorted(beyond, ordered) / m - np.arange(1, most + 1) / (n + 1)
    k = int(gain.argmax())
    if gain[k] <= 0:
        why = f"no threshold that loses up to {loss:.1%} in scope hands over more of the {m:,} rows out of it"
        return ScopeFit(scope=None, why=why, auroc=told)
    why = f"abstains where the {best.replace('_', ' ')} is below {ordered[k]:.3g} (AUROC {told[best]:.3f})"
    return ScopeFit(scope=Scope(score=best, at=float(ordered[k]), label=label), why=why, auroc=told)
