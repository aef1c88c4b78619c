"""Thresholds that keep a promise at the least cost, or how many rows it would take. Pure.

Learn then Test (Angelopoulos and others 2021, arXiv 2110.01052): on each path, a choice of stages and one
threshold that falls over a fixed grid, every point must pass an exact test until the first that fails. The
luck is shared among the paths, but for a tenth that asks whether an early stage is enough alone. So whichever
passing point is taken, by cost or by anything else, it breaks the promise at most so often.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from smallworks.route.mixes import (
    GRID,
    Mix,
    answered_by,
    counted,
    mix,
    oracle,
    paths,
    scores,
    thresholds,
)
from smallworks.route.promise import Promise
from smallworks.route.stages import Floats, Stage

ALONE = 0.1
"""The part of the luck that is spent on asking whether an early stage is enough alone."""
SEEMS = (0.5, 0.9)
"""Shares of what a promise allows that a mix may seem to use up, for rows to be asked to show it."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Plain limits on a mix: p95 milliseconds and dollars a request; None asks nothing."""

    p95_ms: float | None = None
    cost: float | None = None

    def holds(self, one: Mix) -> bool:
        return (self.p95_ms is None or one.p95_ms <= self.p95_ms) and (
            self.cost is None or one.cost <= self.cost
        )


@dataclass(frozen=True, kw_only=True)
class Routing:
    """`mixes` is every point of every path, the safest first. `chosen` is None where nothing may be promised.

    `rows_needed` is how many rows would show the promise for `wanted`, the cheapest mix that seems to keep
    it; `rows_least` is how many it takes where no row disagrees. `why` is the sentence for users.
    """

    stages: tuple[str, ...]
    promise: Promise
    rows: int
    design: float
    last: Mix
    oracle: Mix
    mixes: tuple[Mix, ...]
    chosen: Mix | None
    wanted: Mix | None
    rows_needed: int | None
    rows_least: int | None
    why: str


def calibrate(
    stages: Sequence[Stage],
    promise: Promise,
    *,
    limits: Limits = Limits(),
    design: float = 1.0,
    choices: int = 1,
) -> Routing:
    """Choose among all mixes. `design` rows tell as much as one (`stages.design`).

    `choices` is how many cascades these were chosen from on these very rows: all of them share the luck.
    """
    ways = list(paths(len(stages)))
    luck = (1 - ALONE) * (1 - promise.confidence) / len(ways) / choices
    alone = ALONE * (1 - promise.confidence) / (len(stages) - 1) / choices
    mixes = [one for way in ways for one in _path(stages, way, promise, luck, alone, design)]
    last = mix(stages, (None,) * (len(stages) - 1))
    held = [one for one in mixes if one.promised and limits.holds(one) and one.cost < last.cost]
    chosen = min(held, key=lambda one: (one.cost, -one.quality), default=None)
    wanted = chosen or _wanted(mixes, promise, limits, last)
    needed = None if chosen or wanted is None else _rows_needed(stages, wanted, promise, luck, design)
    least = _rows_least(stages, promise, luck)
    found = Routing(
        stages=tuple(stage.name for stage in stages),
        promise=promise,
        rows=last.n,
        design=design,
        last=last,
        oracle=oracle(stages),
        mixes=tuple(mixes),
        chosen=chosen,
        wanted=wanted,
        rows_needed=needed,
        rows_least=None if least is None else round(least * design),
        why="",
    )
    return replace(found, why=_why(found, limits))


def _path(
    stages: Sequence[Stage], way: Sequence[int], promise: Promise, luck: float, alone: float, design: float
) -> list[Mix]:
    """Every point of one path; promised up to the first that fails. A stage alone has a test of its own."""
    found, holds = list[Mix](), True
    for at in GRID:
        one = mix(stages, thresholds(way, at, len(stages)))
        holds = holds and _kept(stages, one, promise, luck, design)
        found.append(replace(one, promised=holds))
    if len(way) == 1 and not holds and _kept(stages, found[-1], promise, alone, design):
        found[-1] = replace(found[-1], promised=True)
    return found


def _kept(stages: Sequence[Stage], one: Mix, promise: Promise, luck: float, design: float) -> bool:
    """The test on as many rows as would tell the same alone, every rounding against the claim."""
    if one.spread is not None:
        return promise.shown(*_both(stages, one), luck=luck, design=design)
    n, hits = int(one.n / design), int(one.quality * one.n / design + 1e-9)
    losses, gains = -int(-one.losses / design // 1), int(one.gains / design)
    return n > 0 and promise.kept(losses, gains, hits, n, luck=luck)


def _both(stages: Sequence[Stage], one: Mix) -> tuple[Floats, Floats]:
    """The scores of a mix and of the last stage."""
    return scores(stages, answered_by(stages, one.thresholds)), stages[-1].score


def _wanted(mixes: Sequence[Mix], promise: Promise, limits: Limits, last: Mix) -> Mix | None:
    """The cheapest mix that seems to keep the promise with room to spare: half of it, else a tenth."""
    able = [one for one in mixes if limits.holds(one) and one.cost < last.cost]
    for used in SEEMS:
        seeming = [one for one in able if _room(one, promise, last) <= used]
        if seeming:
            return min(seeming, key=lambda one: one.cost)
    return None


def _room(one: Mix, promise: Promise, last: Mix) -> float:
    """How much of what the promise allows the mix seems to use up; above 1 it seems to break it."""
    if promise.against == "last":
        return -one.difference / promise.value
    above = last.quality - promise.value
    return (last.quality - one.quality) / above if above > 0 else math.inf


def _rows_needed(
    stages: Sequence[Stage], one: Mix, promise: Promise, luck: float, design: float
) -> int | None:
    if one.spread is None:
        rows = promise.rows_for(one.losses / one.n, one.gains / one.n, one.quality, luck=luck)
    else:
        rows = promise.rows_like(*_both(stages, one), luck=luck)
    return None if rows is None else round(rows * design)


def _rows_least(stages: Sequence[Stage], promise: Promise, luck: float) -> int | None:
    """Rows that would show it if no row disagreed and all were right."""
    if counted(stages):
        return promise.rows_for(0.0, 0.0, 1.0, luck=luck)
    return promise.rows_like(np.ones(1), np.ones(1), luck=luck)


def _why(found: Routing, limits: Limits) -> str:
    chosen, last = found.chosen, found.stages[-1]
    said = f"{found.promise}, on {found.rows:,} rows"
    if found.design > 1:
        said += f" that tell as much as {int(found.rows / found.design):,} alone"
    if chosen:
        return (
            f"{said}: the cheapest mix that keeps it hands {100 * chosen.escalated:.1f} % to {last} and "
            f"{good(chosen)} ({last} alone: {figure(found.last)})."
        )
    if found.promise.against == "floor" and found.last.quality < found.promise.value:
        return (
            f"{said}: {last} itself, which answers last, {good(found.last)}. "
            "Put the best stage last, or promise less."
        )
    if any(one.promised and one.cost < found.last.cost for one in found.mixes):
        return f"{said}: kept by mixes, but by none within the limits on time and cost."
    if all(one.cost >= found.last.cost for one in found.mixes):
        return f"{said}: no mix costs less than {last} alone, which should answer every row."
    if found.rows_needed and found.wanted:
        return (
            f"{said}: not shown. About {found.rows_needed:,} rows would show it for the mix that hands "
            f"{100 * found.wanted.escalated:.0f} % to {last}; no promise takes fewer than "
            f"{found.rows_least:,}."
        )
    if found.rows_least and found.rows < found.rows_least:
        return f"{said}: not shown. This promise needs at least {found.rows_least:,} rows."
    return f"{said}: no mix seems to keep it. Let {last} answer every row, or promise less."


def good(one: Mix) -> str:
    """How good a mix is, as a sentence goes on."""
    return f"is right on {figure(one)}" if one.spread is None else f"scores {figure(one)} on average"


def figure(one: Mix) -> str:
    """A share in percent, any other score as it is."""
    return f"{100 * one.quality:.2f} %" if one.spread is None else f"{one.quality:.4f}"


def describe(found: Routing) -> str:
    """The thresholds of the chosen mix in words."""
    if found.chosen is None:
        return "nothing chosen"
    named = zip(found.stages, found.chosen.thresholds, strict=False)
    parts = [f"{name} answers from {at:g}" for name, at in named if at is not None]
    return ", ".join([*parts, f"{found.stages[-1]} the rest"])
