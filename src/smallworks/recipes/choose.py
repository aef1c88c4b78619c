"""The choice: the cheapest candidate that holds what was asked, and the sentence that says why. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from smallworks.types import Row, Targets, Verdict

TIE = 1.1
MARGIN = 0.02
"""Without a target, a candidate holds when it is shown to be no more than this below the best."""

Against = Callable[[Row, Row], Verdict]
"""`against(best, row)`: whether `row` is no more than MARGIN worse than `best`, on the same rows."""


def choose(rows: Sequence[Row], targets: Targets, against: Against) -> tuple[Row | None, str]:
    """The chosen row and why. Only rows with a bundle that agrees with its golden rows may be chosen."""
    able = [r for r in rows if r.bundle and r.metric and (r.parity is None or r.parity.holds)]
    if not able:
        return None, "No candidate could be measured here: see the reasons in the table."
    holding = [r for r in able if _outcome(r) == "pass"]
    if targets.at_least is None:
        row, why = _near_best(holding or able, targets, against)
        return row, why if holding else f"No candidate is shown to keep every limit: {_reason(row)} {why}"
    if holding:
        row = cheapest(holding)
        rest = f"the cheapest of {len(holding)} that do" if len(holding) > 1 else "the only one that does"
        return row, f"{row.name} holds the target and is {rest}: {_reason(row)}"
    open_ones = [r for r in able if _outcome(r) == "inconclusive"]
    if open_ones:
        row = max(open_ones, key=_value)
        return row, f"No candidate is shown to hold the target yet; {row.name} comes closest: {_reason(row)}"
    row = max(able, key=_value)
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
    verdicts: Mapping[str, Verdict] = {r.name: against(best, r) for r in within if r.name != best.name}
    holding = [best] + [r for r in within if r.name in verdicts and verdicts[r.name].outcome == "pass"]
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


def _value(row: Row) -> float:
    return row.metric.value if row.metric else 0.0


def _outcome(row: Row) -> str:
    """A row is without a verdict where the task sets no target: nothing speaks against it."""
    return row.verdict.outcome if row.verdict else "pass"


def _reason(row: Row) -> str:
    return row.verdict.reason if row.verdict else ""
