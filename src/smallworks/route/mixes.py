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
from smallworks.route.stages import Floats, Gate, Stage

Thresholds = tuple[float | None, ...]
"""One for each stage but the last: it answers from this confidence on; None: it takes no part."""

LEVEL = 0.95
NORMAL = 1.96
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

    `quality` is the mean score, of labels the share right; `losses` are by how much the last stage is better,
    summed over the rows where it is (of labels: how many only it has right), `gains` the same of the mix.
    `spread` is the scores' standard deviation; None where each is 0 or 1. `cost` is dollars a request,
    `p95_ms` of the stages' mean times. `promised` says that these rows show the promise to hold.
    """

    thresholds: Thresholds
    shares: tuple[float, ...]
    quality: float
    losses: float
    gains: float
    n: int
    cost: float
    p95_ms: float
    promised: bool = False
    spread: float | None = None

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % ends of the quality: exact for shares, by the normal curve for other scores."""
        if self.spread is not None:
            reach = NORMAL * self.spread / self.n**0.5
            return max(0.0, self.quality - reach), min(1.0, self.quality + reach)
        hits, luck = round(self.quality * self.n), (1 - LEVEL) / 2
        return tails.lower(hits, self.n, luck), tails.upper(hits, self.n, luck)

    @property
    def escalated(self) -> float:
        """The share that the last stage has to answer."""
        return self.shares[-1]

    @property
    def difference(self) -> float:
        """The quality minus the last stage's."""
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
    who = np.full(len(stages[0].score), last)
    for i in reversed(range(last)):
        threshold = at[i]
        if threshold is not None:
            who[stages[i].confidence >= threshold] = i
    if (gate := stages[0].gate) is not None:
        who[gate.skips] = last
    return who


def mix(stages: Sequence[Stage], at: Thresholds) -> Mix:
    """What these thresholds make of the rows."""
    return of_answers(stages, answered_by(stages, at), at)


def of_answers(stages: Sequence[Stage], who: NDArray[np.int64], at: Thresholds) -> Mix:
    """The same where it is known who answers each row."""
    n = len(who)
    got = scores(stages, who)
    ahead = got - stages[-1].score
    shares = np.bincount(who, minlength=len(stages)) / n
    reached = _reached(stages, at)
    cost = np.cumsum([s.cost * r for s, r in zip(stages, reached, strict=True)])
    ms = np.cumsum([s.ms * r for s, r in zip(stages, reached, strict=True)])
    gate = stages[0].gate
    return Mix(
        thresholds=at,
        shares=tuple(shares.tolist()),
        quality=float(got.sum()) / n,
        losses=float((-ahead).clip(min=0).sum()),
        gains=float(ahead.clip(min=0).sum()),
        spread=None if counted(stages) else float(got.std()),
        n=n,
        cost=float(shares @ cost) if gate is None else float(_gated(gate, stages[-1].cost, cost[who]).mean()),
        p95_ms=float(ms[np.searchsorted(np.cumsum(shares), LEVEL - 1e-12)])
        if gate is None
        else float(np.quantile(_gated(gate, stages[-1].ms, ms[who], time=True), LEVEL, method="higher")),
    )


def _gated(gate: Gate, last: float, passed: Floats, *, time: bool = False) -> Floats:
    """What each row takes behind a gate, [n]: the gate, and all that it passed or the last stage alone."""
    return (gate.ms if time else gate.cost) + np.where(gate.skips, last, passed)


def scores(stages: Sequence[Stage], who: NDArray[np.int64]) -> Floats:
    """How good the answers are, [n]."""
    return np.choose(who, [stage.score for stage in stages]).astype(np.float64)


def counted(stages: Sequence[Stage]) -> bool:
    """Whether every score is 0 or 1, so that rows can be counted."""
    return all(bool(((stage.score == 0) | (stage.score == 1)).all()) for stage in stages)


def oracle(stages: Sequence[Stage]) -> Mix:
    """Could one see which stage is best: the first that is answers alone, the cheapest of equals."""
    who = np.array([stage.score for stage in stages]).argmax(axis=0)
    whole = of_answers(stages, who, (0.0,) * (len(stages) - 1))
    cost = np.array([stage.cost for stage in stages])
    return replace(whole, cost=float(np.array(whole.shares) @ cost))


def _reached(stages: Sequence[Stage], at: Thresholds) -> list[bool]:
    """Which stages a row passes on its way: those that take part, and the last."""
    return [threshold is not None for threshold in at] + [True]
