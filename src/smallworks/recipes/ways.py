"""The ways in which the same stages may hand over: each by what tells how sure it is, or two by agreeing.

Knows records of stages, cheap to dear; knows no bundles and chooses no threshold.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from smallworks.bundle import Bundle
from smallworks.bundle.manifest import Sureness
from smallworks.engines import difficulty
from smallworks.engines.difficulty import Difficulty
from smallworks.errors import DataError
from smallworks.evaluate.metrics import METRICS
from smallworks.recipes.cascade import Step
from smallworks.route import Limits, Promise, Routing, Stage, calibrate, stages_of
from smallworks.route.stages import Floats, Gate, confidence_of, design, scores_of
from smallworks.route.sure import Flags, confidences, fit, parted
from smallworks.taskfile import METRICS as OF_KIND
from smallworks.types import BuildOptions, Kind, Record, Targets

NO_LIMITS = Limits()
GATES = (0.25, 0.5, 0.75)
"""How likely the first stage must be good enough for the early stages to be asked at all: each is tried."""
EVEN = 1e-9
"""Scores that differ by less are one."""
SAID = {
    "likelihood": "the mean probability of its tokens",
    "weakest": "the least probable of its tokens",
    "margin": "the lead of its tokens over the next likely ones",
    "agreement": "agreement",
}


@dataclass(frozen=True, kw_only=True)
class Way:
    """`steps` are places among the stages; two in one step must agree. `sureness` is of each but the last.

    `stages` are the steps on the rows that may choose thresholds, `groups` those that these rows are of.
    `notes` say what was fitted and how well.
    """

    steps: tuple[tuple[int, ...], ...]
    stages: tuple[Stage, ...]
    groups: tuple[str, ...] = ()
    sureness: tuple[Sureness | None, ...] = ()
    notes: tuple[str, ...] = ()
    gate: tuple[Difficulty, float] | None = None


def score_of(kind: Kind, targets: Targets) -> str:
    """The score of a row that a task is judged by; the usual one of its kind where only some rows have it."""
    metric = METRICS[targets.metric]
    return (METRICS[OF_KIND[kind][0]] if metric.some else metric).row


def ways(
    records: Sequence[Sequence[Record]],
    names: Sequence[str],
    costs: Sequence[float],
    ms: Sequence[float],
    *,
    score: str,
    fitted: Flags,
    texts: Sequence[str] = (),
) -> tuple[Way, ...]:
    """By the probabilities of labels where all early stages give them.

    Else the rows `fitted` [n] fit what tells how sure each is, and the others are left to choose by; with two
    early stages their agreement is another way. With `texts` [n] each way also comes with a gate in front,
    which sends what looks hard to the last stage at once.
    Raises DataError where nothing tells when a stage should hand over.
    """
    if not texts and all(r.probabilities is not None for done in records[:-1] for r in done):
        steps = tuple((i,) for i in range(len(records)))
        groups = tuple(record.group for record in records[0])
        return (Way(steps=steps, stages=stages_of(records, names, costs, ms, score=score), groups=groups),)
    found: list[tuple[tuple[int, ...], ...]] = [tuple((i,) for i in range(len(records)))]
    if len(records) > 2:
        found.append(((0, 1), *((i,) for i in range(2, len(records)))))
    made = [_way(steps, records, names, costs, ms, score, fitted) for steps in found]
    kept = tuple(way for way in made if way)
    if not kept:
        dumb = next(n for n, done in zip(names, records, strict=False) if not _tells(done))
        raise DataError(
            f"'{dumb}' gives no probabilities, so nothing tells when it should hand over.",
            fix="Put it last, leave it out, or name a second cheap bundle: then their agreement tells.",
        )
    return (*kept, *(gated for way in kept for gated in _gated(way, records, score, fitted, texts)))


def _gated(
    way: Way, records: Sequence[Sequence[Record]], score: str, fitted: Flags, texts: Sequence[str]
) -> list[Way]:
    """The same way behind a gate at each of GATES; none where nothing can be learned."""
    first, last = (scores_of(records[i], score) for i in (way.steps[0][-1], -1))
    learned, left = np.flatnonzero(fitted).tolist(), np.flatnonzero(~fitted).tolist()
    good = first >= last - EVEN
    gate = difficulty.fit([texts[i] for i in learned], good[learned].tolist()) if texts else None
    if gate is None:
        return []
    start = time.perf_counter()
    likely = np.array([gate.likely(texts[i]) for i in left])
    ms = 1000 * (time.perf_counter() - start) / len(left)
    cost = ms / 3.6e6 * BuildOptions.machine_price_per_hour
    return [
        replace(
            way,
            stages=(replace(way.stages[0], gate=Gate(skips=likely < at, cost=cost, ms=ms)), *way.stages[1:]),
            gate=(gate, at),
        )
        for at in GATES
    ]


def best_way(
    found: Sequence[Way],
    promise: Promise,
    *,
    limits: Limits = NO_LIMITS,
    choices: int = 1,
) -> tuple[Routing, Way]:
    """The way whose chosen mix costs least, else the one that seems to; all of them share the luck."""
    tried = [
        calibrate(way.stages, promise, limits=limits, design=design(way.groups), choices=choices * len(found))
        for way in found
    ]

    def order(i: int) -> tuple[bool, bool, float]:
        one = tried[i]
        mix = one.chosen or one.wanted
        return one.chosen is None, mix is None, mix.cost if mix else 0.0

    best = min(range(len(found)), key=order)
    note = _of_gates(found, tried, found[best])
    return tried[best], replace(found[best], notes=(*found[best].notes, *note))


def _of_gates(found: Sequence[Way], tried: Sequence[Routing], best: Way) -> list[str]:
    """What a gate would bring, in a sentence; nothing where none was tried."""
    if all(way.gate is None for way in found):
        return []
    without, behind = (
        min(
            (t.chosen.cost for w, t in zip(found, tried, strict=True) if bool(w.gate) is gated and t.chosen),
            default=None,
        )
        for gated in (False, True)
    )
    said = ["nothing promised" if cost is None else f"${1000 * cost:.3g}" for cost in (without, behind)]
    kept = f"kept, from {best.gate[1]:g}" if best.gate else "left out"
    return [
        f"A gate by the input alone: {kept}. Per 1,000 requests: {said[0]} without it, {said[1]} with it."
    ]


def steps_of(way: Way, stages: Sequence[Bundle]) -> tuple[Step, ...]:
    """The bundles of each step."""
    return tuple(
        stages[step[0]] if len(step) == 1 else (stages[step[0]], stages[step[1]]) for step in way.steps
    )


def _way(
    steps: tuple[tuple[int, ...], ...],
    records: Sequence[Sequence[Record]],
    names: Sequence[str],
    costs: Sequence[float],
    ms: Sequence[float],
    score: str,
    fitted: Flags,
) -> Way | None:
    """None where a step does not tell how sure it is."""
    last = scores_of(records[-1], score)
    hows, sure, notes = list[Sureness | None](), list[Floats](), list[str]()
    for step in steps[:-1]:
        done, before = records[step[-1]], records[step[0]] if len(step) > 1 else None
        if before is None and all(record.probabilities is not None for record in done):
            hows.append(None)
            sure.append(confidence_of(done))
            continue
        good = scores_of(done, score) >= last - EVEN
        how = fit(done, good, fitted, before)
        if how is None:
            return None
        hows.append(how)
        sure.append(confidences(how, done, before))
        told = parted(sure[-1][fitted], good[fitted])
        notes.append(
            f"{_named(step, names)} is as sure as {SAID[how.signal]} tells: it puts an answer as good as "
            f"{names[-1]}'s before a worse one {100 * told:.0f} times in 100 ({fitted.sum()} rows, which fit "
            "this alone)."
        )
    left = np.flatnonzero(~fitted).tolist()
    stages = stages_of(
        [[records[step[-1]][i] for i in left] for step in steps],
        [_named(step, names) for step in steps],
        [sum(costs[i] for i in step) for step in steps],
        [sum(ms[i] for i in step) for step in steps],
        score=score,
        confidences=[one[left] for one in sure],
    )
    groups = tuple(records[0][i].group for i in left)
    return Way(steps=steps, stages=stages, groups=groups, sureness=tuple(hows), notes=tuple(notes))


def _named(step: Sequence[int], names: Sequence[str]) -> str:
    return "+".join(names[i] for i in step)


def _tells(done: Sequence[Record]) -> bool:
    return all(r.probabilities is not None for r in done) or any(r.signals for r in done)
