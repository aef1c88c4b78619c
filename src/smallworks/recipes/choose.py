"""The choice: the cheapest candidate that holds what was asked, and the sentence that says why. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from smallworks.evaluate import verdict
from smallworks.evaluate.together import targets_together
from smallworks.types import LOSS, Row, Targets, Verdict

TIE = 1.1
MARGIN = 0.02
"""Without a target, a candidate holds when it is shown to be no more than this below the best."""

Against = Callable[[Row, Sequence[Row]], Sequence[Verdict]]
"""`against(best, others)`: which of them are no more than MARGIN worse than `best`, on the same rows."""


def able(row: Row) -> bool:
    """Whether a row was measured and can be served as it was measured."""
    return bool(row.bundle and row.metric and (row.parity is None or row.parity.holds))


def over(row: Row, targets: Targets) -> list[str]:
    """The reasons why a row does not keep the limits."""
    return [one.reason for one in _limits(row, targets) if one.outcome != "pass"]


def counts(row: Row, targets: Targets) -> bool:
    """Whether it is one of those that verdicts are corrected for: not out already, whatever its answers."""
    unseen = replace(targets, in_scope_loss=None)  # the one limit on what was answered
    return able(row) and not over(row, unseen)


def judge_together(rows: Sequence[Row], targets: Targets) -> tuple[Row, ...]:
    """The rows, with the verdicts of all that may be chosen corrected for how many they are.

    What cannot be served or breaks a plain limit was out whatever its answers, and does not count.
    """
    if targets.at_least is None:
        return tuple(rows)
    family = [row for row in rows if counts(row, targets)]
    measured = [row.metric for row in family if row.metric]
    verdicts = targets_together(measured, targets.at_least, metric=targets.metric)
    judged = {
        row.name: replace(row, verdict=verdict.combine([one, *_limits(row, targets)]))
        for row, one in zip(family, verdicts, strict=True)
    }
    return tuple(judged.get(row.name, row) for row in rows)


def choose(rows: Sequence[Row], targets: Targets, against: Against) -> tuple[Row | None, str]:
    """The chosen row and why. Only rows with a bundle that agrees with its golden rows may be chosen."""
    within = [r for r in rows if able(r)]
    if not within:
        return None, "No candidate could be measured here: see the reasons in the table."
    holding = [r for r in within if _outcome(r) == "pass"]
    if targets.at_least is None:
        row, why = _near_best(holding or within, targets, against)
        return row, why if holding else f"No candidate is shown to keep every limit: {_reason(row)} {why}"
    if holding:
        row = cheapest(holding)
        rest = f"the cheapest of {len(holding)} that do" if len(holding) > 1 else "the only one that does"
        return row, f"{row.name} holds the target and is {rest}: {_reason(row)}"
    open_ones = [r for r in within if _outcome(r) == "inconclusive"]
    if open_ones:
        row = max(open_ones, key=_value)
        return row, f"No candidate is shown to hold the target yet; {row.name} comes closest: {_reason(row)}"
    row = max(within, key=_value)
    return row, (
        f"No candidate holds the target. {row.name} is the best measured: {_reason(row)} "
        "More or cleaner training rows, a larger base (--base), or the flagship are the ways on."
    )


def cheapest(rows: Sequence[Row]) -> Row:
    """By cost per request (within a tenth is equal: clocks are no finer), then memory, then disk."""
    least = min(row.cost_per_1000 or 0 for row in rows)
    near = [row for row in rows if (row.cost_per_1000 or 0) <= TIE * least]
    return min(near, key=lambda r: (r.peak_memory_bytes or 0, r.disk_bytes or 0, -_value(r)))


def _near_best(within: Sequence[Row], targets: Targets, against: Against) -> tuple[Row, str]:
    best = max(within, key=_value)
    others = [row for row in within if row.name != best.name]
    verdicts = {row.name: one for row, one in zip(others, against(best, others), strict=True)}
    holding = [best] + [row for row in others if verdicts[row.name].outcome == "pass"]
    row = cheapest(holding)
    if row.name == best.name:
        return row, (
            f"{row.name} has the best {targets.metric} ({_value(row):.3f}), and no cheaper one is shown "
            f"to be within {100 * MARGIN:.0f} points of it."
        )
    return row, (
        f"{row.name} is the cheapest shown to be no more than {100 * MARGIN:.0f} points below the best "
        f"({best.name}, {targets.metric} {_value(best):.3f}): {verdicts[row.name].reason}"
    )


def _limits(row: Row, targets: Targets) -> tuple[Verdict, ...]:
    return verdict.limits(
        targets,
        latency=row.latency,
        memory_bytes=row.peak_memory_bytes,
        cost_per_1000=row.cost_per_1000,
        loss=row.metrics.get(LOSS),
    )


def _value(row: Row) -> float:
    return row.metric.value if row.metric else 0.0


def _outcome(row: Row) -> str:
    """A row is without a verdict where the task sets no target: nothing speaks against it."""
    return row.verdict.outcome if row.verdict else "pass"


def _reason(row: Row) -> str:
    return row.verdict.reason if row.verdict else ""
