"""Three verdicts: pass, fail, or inconclusive with the number of rows that would settle it.

Every pass and every fail is one-sided at 95 %: on the very edge of its target a candidate passes, or fails,
in at most one test set of twenty; exactly so for proportions, nearly for all else. A candidate that is one
of several passes at a twentieth divided by their number (`among`; `together` says what that is). Knows
estimates and comparisons; knows nothing of rows or engines.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from statistics import NormalDist

from smallworks.evaluate.intervals import LEVEL, at_least, at_most, paired_difference, quantile, tango
from smallworks.evaluate.metrics import METRICS
from smallworks.types import LOSS, Comparison, Estimate, Latency, Targets, Verdict

LUCK = 1 - LEVEL
"""How often a candidate on the edge of its target may pass."""
MOST_ROWS = 100_000
"""More test rows than this are not worth naming."""


def against_target(estimate: Estimate, target: float, *, metric: str, among: int = 1) -> Verdict:
    """Whether the metric is `target` or better, beyond the luck of the test rows.

    Proportions are tested by exact binomial tails (Wilson's bound misses its 5 % by up to 2 points on few
    rows), all else by the estimate's interval, made one-sided on the normal curve.
    """
    test = _proportion_test if _is_share(metric) else _interval_test
    settled = test(estimate, target, luck=LUCK / among)
    said = f"{metric} {_interval(estimate)} on {_rows(estimate)}: {target:g} or better"
    if settled(estimate.n) == "pass":
        return Verdict(outcome="pass", reason=f"{said} is shown.")
    if settled(estimate.n) == "fail":
        return Verdict(outcome="fail", reason=f"{said} is ruled out.")
    return _inconclusive(said, among, estimate.n, settled)


def non_inferior(
    comparison: Comparison,
    margin: float,
    *,
    a: str = "A",
    b: str = "B",
    among: int = 1,
    rows: str = "test rows",
) -> Verdict:
    """Whether B is worse than A by no more than `margin` on the metric's scale, on the same rows.

    `rows` is what more of would settle it.
    """
    difference = comparison.difference
    luck = LUCK / among
    settled = _interval_test(_one_sided(comparison, luck), -margin, luck=luck)
    said = (
        f"{comparison.metric} of {b} minus {a} {_interval(difference, signed=True)} on "
        f"{_rows(difference)}: {f'no more than {margin:g} worse' if margin else 'no worse'}"
    )
    if settled(difference.n) == "pass":
        return Verdict(outcome="pass", reason=f"{said} is shown.")
    if settled(difference.n) == "fail":
        return Verdict(outcome="fail", reason=f"{said} is ruled out.")
    return _inconclusive(said, among, difference.n, settled, rows)


def chance_at_target(estimate: Estimate, target: float, *, metric: str) -> float:
    """p-value of "`target` or better": how likely so good a measurement is on the very edge of it."""
    if _is_share(metric):
        rows = _alone(estimate, estimate.n)
        return at_least(math.floor(estimate.value * rows + 1e-6), rows, target)
    return _beyond(estimate, target)


def chance_at_margin(comparison: Comparison, margin: float) -> float:
    """p-value of "no more than `margin` worse": how likely so small a loss is on the very edge of it."""
    if not _is_share(comparison.metric):
        return _beyond(comparison.difference, -margin)
    return NormalDist().cdf(-tango(*_cells(comparison), -margin))


def _beyond(estimate: Estimate, edge: float) -> float:
    """The normal tail of so much above `edge`, on the scale of the interval's lower half."""
    unit = (estimate.value - estimate.low) / quantile(estimate.level)
    if unit <= 0:
        return float(estimate.value < edge)
    return NormalDist().cdf((edge - estimate.value) / unit)


def _is_share(metric: str) -> bool:
    return metric in METRICS and METRICS[metric].proportion


def _one_sided(comparison: Comparison, luck: float) -> Estimate:
    """The difference at the level whose lower end is the one-sided bound, where it can be had exactly."""
    if _is_share(comparison.metric):
        fewer = paired_difference(*_cells(comparison), level=1 - 2 * luck)
        return replace(fewer, n=comparison.difference.n)
    return comparison.difference


def _cells(comparison: Comparison) -> tuple[float, float, float]:
    """Rows where only A is right, where only B is, and all: as many as tell the same standing alone."""
    design = comparison.difference.design
    return comparison.only_a / design, comparison.only_b / design, comparison.difference.n / design


def _alone(estimate: Estimate, rows: int) -> int:
    """How many rows standing alone tell as much as `rows` that are grouped like the measured ones."""
    return max(1, int(rows / estimate.design + 1e-9))


def limits(
    targets: Targets,
    *,
    latency: Latency | None = None,
    memory_bytes: int | None = None,
    cost_per_1000: float | None = None,
    loss: Estimate | None = None,
) -> tuple[Verdict, ...]:
    """One plain verdict for each limit that the task sets: p95 in ms, memory in MB (10⁶ bytes), cost in $.

    A limit whose measurement is missing is inconclusive. `loss` is the share of the rows in scope that are
    handed over: over its limit where the whole interval is; without one, nothing is handed over.
    """
    memory_mb = None if memory_bytes is None else memory_bytes / 1e6
    p95 = None if latency is None else latency.p95
    rows = (
        ("p95 latency", p95, targets.p95_ms, lambda x: f"{_short(x)} ms"),
        ("peak memory", memory_mb, targets.memory_mb, lambda x: f"{x:,.0f} MB"),
        ("cost per 1,000 requests", cost_per_1000, targets.cost_per_1000, lambda x: f"${_short(x)}"),
    )
    plain = [_limit(name, value, most, show) for name, value, most, show in rows if most is not None]
    most = targets.in_scope_loss
    return (*plain, _loss(loss, most)) if loss and most is not None else tuple(plain)


def combine(verdicts: Sequence[Verdict]) -> Verdict:
    """Fail beats inconclusive beats pass, with the reason of the deciding one.

    Of several inconclusive ones the one that needs most rows decides. No verdicts at all pass.
    """
    if not verdicts:
        return Verdict(outcome="pass", reason="No target is set.")
    rank = {"fail": 0, "inconclusive": 1, "pass": 2}

    def order(verdict: Verdict) -> tuple[int, float]:
        return rank[verdict.outcome], -(verdict.rows_needed or math.inf)

    return min(verdicts, key=order)


# --- tests: a number of rows → what the observed value would show on so many ----------------------

Settled = Callable[[int], str]


def _proportion_test(estimate: Estimate, target: float, *, luck: float) -> Settled:
    """Passes at `luck`, fails at LUCK."""

    def settled(rows: int) -> str:
        alone = _alone(estimate, rows)
        hits = estimate.value * alone
        if estimate.value > target and at_least(math.floor(hits + 1e-6), alone, target) <= luck:
            return "pass"
        if estimate.value < target and at_most(math.ceil(hits - 1e-6), alone, target) <= LUCK:
            return "fail"
        return "inconclusive"

    return settled


def _interval_test(estimate: Estimate, target: float, *, luck: float) -> Settled:
    """The two-sided interval made one-sided, to pass at `luck` and to fail at LUCK.

    Its width shrinks with the square root of the rows.
    """
    unit = quantile(estimate.level)
    below, above = (quantile(1 - chance, sided=1) / unit for chance in (luck, LUCK))

    def settled(rows: int) -> str:
        shrunk = math.sqrt(estimate.n / rows)
        if estimate.value - (estimate.value - estimate.low) * below * shrunk >= target:
            return "pass"
        if estimate.value + (estimate.high - estimate.value) * above * shrunk < target:
            return "fail"
        return "inconclusive"

    return settled


def _inconclusive(said: str, among: int, rows: int, settled: Settled, what: str = "test rows") -> Verdict:
    more = _more_rows(rows, settled)
    said += " is not shown yet" + (f" as one of {among} tried" if among > 1 else "")
    if more is None:
        reason = f"{said}; it is too close to tell with any sensible number of rows."
    else:
        reason = f"{said}; about {_about(more):,} more {what} would settle it."
    return Verdict(outcome="inconclusive", reason=reason, rows_needed=more)


def _more_rows(rows: int, settled: Settled) -> int | None:
    """Fewest more rows, within 2 %, that settle it if the observed value holds; None past MOST_ROWS."""
    more = 1
    while more <= MOST_ROWS and settled(rows + more) == "inconclusive":
        more += max(1, more // 50)
    return more if more <= MOST_ROWS else None


# --- sentences ----------------------------------------------------------------------------------


def _limit(name: str, value: float | None, most: float, show: Callable[[float], str]) -> Verdict:
    if value is None:
        return Verdict(
            outcome="inconclusive", reason=f"{name} was not measured; at most {show(most)} is asked."
        )
    within = value <= most
    relation = "is within" if within else "is over"
    return Verdict(
        outcome="pass" if within else "fail",
        reason=f"{name} {show(value)} {relation} the limit of {show(most)}.",
    )


def _loss(loss: Estimate, most: float) -> Verdict:
    """By the lower end: of thresholds exactly at the limit, luck alone takes every other one above it."""
    within = loss.low <= most
    relation = "is not shown to be over" if loss.value > most else "is within"
    return Verdict(
        outcome="pass" if within else "fail",
        reason=f"{LOSS} {_interval(loss)} on {_rows(loss)} {relation if within else 'is over'} the limit of "
        f"{most:g}.",
    )


def _interval(estimate: Estimate, *, signed: bool = False) -> str:
    form = "+.3f" if signed else ".3f"
    return f"{estimate.value:{form}} [{estimate.low:{form}}, {estimate.high:{form}}]"


def _rows(estimate: Estimate) -> str:
    rows = f"{estimate.n:,} row{'' if estimate.n == 1 else 's'}"
    if estimate.groups is None:
        return rows
    return f"{rows} in {estimate.groups:,} group{'' if estimate.groups == 1 else 's'}"


def _about(n: int) -> int:
    """Rounded up to two significant digits: 2,611 → 2,700."""
    unit = int(10 ** max(0, len(str(n)) - 2))
    return math.ceil(n / unit) * unit


def _short(x: float) -> str:
    return f"{x:,.0f}" if x >= 100 else f"{x:.3g}"
