"""One verdict on a bundle or on records: is it good enough, or no worse than another? For CI.

Knows quality alone: latency and memory are the machine's, and a build judges them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from smallworks.errors import UserError
from smallworks.evaluate.compare import compare
from smallworks.evaluate.metrics import estimate, metric_of
from smallworks.evaluate.records import by_id
from smallworks.evaluate.verdict import against_target, non_inferior
from smallworks.recipes.choose import MARGIN
from smallworks.recipes.examine import asked, records_of
from smallworks.seams import Progress, silent
from smallworks.types import Comparison, Estimate, Verdict


@dataclass(frozen=True, kw_only=True)
class Gate:
    """The verdict and what it rests on: an estimate against `at_least`, or a comparison against `margin`."""

    metric: str
    verdict: Verdict
    at_least: float | None = None
    margin: float | None = None
    estimate: Estimate | None = None
    comparison: Comparison | None = None


def gate(
    candidate: Path,
    *,
    against: Path | None = None,
    rows: Path | None = None,
    metric: str | None = None,
    at_least: float | None = None,
    margin: float | None = None,
    progress: Progress = silent,
) -> Gate:
    """Judge a bundle or a records file. Raises UserError where nothing, or two things at once, are asked.

    With `against`: whether it is no more than `margin` (default MARGIN) worse on the same rows.
    Else: whether it holds `at_least` (default: the target of the task at hand).
    """
    _check(against, at_least, margin)
    if against:
        return _against(candidate, against, rows, metric, MARGIN if margin is None else margin, progress)
    kind, targets = asked(candidate, rows=rows)
    if at_least is None and metric in (None, targets.metric):
        at_least = targets.at_least
    name = metric or targets.metric
    chosen = metric_of(name, kind)
    if chosen.lower_is_better:
        raise _upside_down(name)
    if at_least is None:
        raise UserError(
            f"Nothing is asked of '{candidate}': no target for {name} is at hand.",
            fix="Give --at-least 0.9, or --against another bundle.",
        )
    done = records_of(candidate, rows, progress=progress)
    by_id(done, f"'{candidate}'")
    measured = estimate(done, chosen)
    return Gate(
        metric=name,
        verdict=against_target(measured, at_least, metric=name),
        at_least=at_least,
        estimate=measured,
    )


def _against(
    candidate: Path, other: Path, rows: Path | None, metric: str | None, margin: float, progress: Progress
) -> Gate:
    kind, targets = asked(candidate, other, rows=rows)
    name = metric or targets.metric
    if metric_of(name, kind).lower_is_better:
        raise _upside_down(name)
    a, b = (records_of(path, rows, progress=progress) for path in (other, candidate))
    found = compare(a, b, name, kind=kind)
    names = (other.name, candidate.name) if other.name != candidate.name else (str(other), str(candidate))
    return Gate(
        metric=name,
        verdict=non_inferior(found, margin, a=names[0], b=names[1]),
        margin=margin,
        comparison=found,
    )


def _upside_down(metric: str) -> UserError:
    return UserError(
        f"'{metric}' is better when it is lower, and a gate asks for no less.",
        fix="Ask for a metric that is better when it is higher; `smallworks evaluate` shows them all.",
    )


def _check(against: Path | None, at_least: float | None, margin: float | None) -> None:
    """Raises UserError where the question is none, before anything is measured."""
    if against and at_least is not None:
        raise UserError(
            f"--at-least {at_least:g} asks about one candidate, --against about two.",
            fix="Give one of them; run the gate twice for both.",
        )
    if margin is not None and not against:
        raise UserError(f"--margin {margin:g} is from nothing.", fix="Add --against BASELINE.")
    if at_least is not None and not 0 < at_least <= 1:
        raise UserError(
            f"--at-least {at_least:g} is not above 0 and at most 1.", fix="Write 90 % as --at-least 0.9."
        )
    if margin is not None and not 0 <= margin < 1:
        raise UserError(f"--margin {margin:g} is not 0 to 1.", fix="Write 2 points as --margin 0.02.")
