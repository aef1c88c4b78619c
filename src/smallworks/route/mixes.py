"""Mixes of stages: which stage answers which row at given thresholds, how well, at what cost. Pure.

A row goes to the first stage that takes part; each answers where it is sure enough, else hands over.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from smallworks.route import tails
from smallworks.route.stages import Stage

Thresholds = tuple[float | None, ...]
"""One for each stage but the last: it answers from this confidence on; None: it takes no part."""

LEVEL = 0.95
GRID = (
    *(0.9995, 0.999, 0.998, 0.997, 0.996),
    *(round(0.995 - 0.005 * i, 3) for i in range(20)),
    *(round(0.895 - 0.0125 * i, 4) for i in range(64)),
    0.05,
    0.0,
)
"""Confidences from which a stage may answer, the safest first. Fixed, so that no row has a say in them."""


@dataclass(frozen=True, kw_only=True)
class Mix:
    """What came of `n` rows at these thresholds. `shares` is who answered, one a stage, in their order.

    `quality` is the share right; `losses` are rows that only the last stage has right, `gains` those
    that only the mix has. `cost` is dollars a request, `p95_ms` of the stages' mean times. `promised` says
    that these rows show the promise to hold.
    """

    thresholds: Thresholds
    shares: tuple[float, ...]
    quality: float
    losses: int
    gains: int
    n: int
    cost: float
    p95_ms: float
    promised: bool = False

    @property
    def interval(self) -> tuple[float, float]:
        """The exact 95 % ends of the quality."""
        hits, luck = round(self.quality * self.n), (1 - LEVEL) / 2
        return tails.lower(hits, self.n, luck), tails.upper(hits, self.n, luck)

    @property
    def escalated(self) -> float:
        """The share that the last stage has to answer."""
        return self.shares[-1]

    @property
    def difference(self) -> float:
        """The share right minus the last stage's."""
        return (self.gains - self.losses) / self.n


def paths(stages: int) -> Iterator[tuple[int, ...]]:
    """Every choice of at least one stage to stand before the last."""
    for size in range(1, stages):
        yield from combinations(range(stages - 1), size)


def thresholds(part: Sequence[int], at: float, stages: int) -> Thresholds:
    """One confidence for all that take part: calibrated, it means the same for each."""
    return tuple(at if i in part else None for i in range(stages - 1))


def answered_by(stages: Sequence[Stage], at: Thresholds) -> NDArray[np.int64]:
    """The index of the stage that answers each row, shape [n]."""
    last = len(stages) - 1
    who = np.full(len(stages[0].right), last)
    for i in reversed(range(last)):
        threshold = at[i]
        if threshold is not None:
            who[stages[i].confidence >= threshold] = i
    return who


def mix(stages: Sequence[Stage], at: Thresholds) -> Mix:
    """What these thresholds make of the rows."""
    return of_answers(stages, answered_by(stages, at), at)


def of_answers(stages: Sequence[Stage], who: NDArray[np.int64], at: Thresholds) -> Mix:
    """The same where it is known who answers each row."""
    n = len(who)
    right = np.choose(who, [stage.right for stage in stages])
    last = stages[-1].right
    hits, shares = int(right.sum()), np.bincount(who, minlength=len(stages)) / n
    reached = _reached(stages, at)
    cost = float(shares @ np.cumsum([s.cost * r for s, r in zip(stages, reached, strict=True)]))
    ms = np.cumsum([s.ms * r for s, r in zip(stages, reached, strict=True)])
    return Mix(
        thresholds=at,
        shares=tuple(shares.tolist()),
        quality=hits / n,
        losses=int((last & ~right).sum()),
        gains=int((right & ~last).sum()),
        n=n,
        cost=cost,
        p95_ms=float(ms[np.searchsorted(np.cumsum(shares), LEVEL - 1e-12)]),
    )


def oracle(stages: Sequence[Stage]) -> Mix:
    """Could one see which stage is right: the first that is answers alone, the cheapest where none is."""
    right = np.array([stage.right for stage in stages])
    who = np.where(right.any(axis=0), right.argmax(axis=0), 0)
    whole = of_answers(stages, who, (0.0,) * (len(stages) - 1))
    cost = np.array([stage.cost for stage in stages])
    return replace(whole, cost=float(np.array(whole.shares) @ cost))


def _reached(stages: Sequence[Stage], at: Thresholds) -> list[bool]:
    """Which stages a row passes on its way: those that take part, and the last."""
    return [threshold is not None for threshold in at] + [True]
