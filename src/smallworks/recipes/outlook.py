"""What would change the choice: sentences computed from the rows of a table.

Knows verdicts and records; knows nothing of pages.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from smallworks.errors import DataError
from smallworks.evaluate import records
from smallworks.evaluate.compare import compare
from smallworks.evaluate.together import shown_together
from smallworks.recipes import figures
from smallworks.recipes.choose import able, cheapest, counts, over
from smallworks.types import Comparison, Row, Table, Task

GRID = 1000
"""Targets are looked at in steps of a thousandth."""
NOTABLE = 1.1
"""Ratios below this are not worth a word."""


@dataclass(frozen=True, kw_only=True)
class Rung:
    """Which candidate a range of targets would choose; None where none is shown to hold them."""

    low: float
    high: float
    name: str | None


@dataclass(frozen=True, kw_only=True)
class Point:
    """One thing that would change the choice, under a short heading."""

    head: str
    sentence: str


def ladder(task: Task, table: Table) -> tuple[Rung, ...]:
    """The choice for every target from 0 to 1, all other limits as they are."""
    family = [row for row in table.rows if counts(row, task.targets)]
    shown = zip(family, _shown(task, family), strict=True)
    held = [(row, most) for row, most in shown if not over(row, task.targets)]
    rungs: list[Rung] = []
    low = 0
    for high in sorted({shown for _, shown in held if shown > 0}):
        name = cheapest([row for row, shown in held if shown >= high]).name
        if rungs and rungs[-1].name == name:
            rungs[-1] = Rung(low=rungs[-1].low, high=high / GRID, name=name)
        else:
            rungs.append(Rung(low=low / GRID, high=high / GRID, name=name))
        low = high
    return (*rungs, Rung(low=low / GRID, high=1.0, name=None)) if rungs and low < GRID else tuple(rungs)


def outlook(task: Task, table: Table) -> tuple[Point, ...]:
    """The sentences, the weightiest first."""
    chosen = chosen_row(table)
    points = [_target(task, table, chosen), _limits(task, table)]
    if chosen:
        points += [_next_best(task, table, chosen), _flagship(task, table, chosen)]
    points += [_open(table, chosen), *_skipped(table)]
    return tuple(point for point in points if point)


def chosen_row(table: Table) -> Row | None:
    return next((row for row in table.rows if row.name == table.chosen_name), None)


def next_best(table: Table, chosen: Row) -> Row | None:
    """The best of the others that could be served instead."""
    others = [row for row in table.rows if row.name != chosen.name and able(row)]
    return max(others, key=_value, default=None)


def _shown(task: Task, rows: Sequence[Row]) -> list[int]:
    """The highest target, in steps of the grid, that each is shown to hold beside the others; 0: none."""
    measured = [row.metric for row in rows if row.metric]

    @cache
    def held(target: int) -> tuple[bool, ...]:
        return shown_together(measured, target / GRID, metric=task.targets.metric)

    return [
        bisect_left(range(1, GRID + 1), x=True, key=lambda t: not held(t)[i]) for i in range(len(measured))
    ]


def _target(task: Task, table: Table, chosen: Row | None) -> Point | None:
    rungs = ladder(task, table)
    place = next((i for i, rung in enumerate(rungs) if chosen and rung.name == chosen.name), None)
    metric = task.targets.metric
    if place is None or chosen is None:
        best = next((rung for rung in reversed(rungs) if rung.name), None)
        if best is None:
            return None
        sentence = f"The highest {metric} that these rows show is {best.high:.3f}, by {best.name}."
        return Point(head="The target", sentence=sentence)
    rung = rungs[place]
    sentence = f"{chosen.name} is the choice for every {metric} target from {rung.low:.3f} to {rung.high:.3f}"
    asked = task.targets.at_least
    if asked is not None and not rung.low <= asked <= rung.high:
        sentence = f"{chosen.name} is shown to hold {metric} {rung.high:.3f}, not the {asked:g} that is asked"
    above = rungs[place + 1] if place + 1 < len(rungs) else None
    below = rungs[place - 1] if place else None
    if above and above.name:
        sentence += f"; above that, {above.name} would be chosen, up to {above.high:.3f}"
    elif above:
        sentence += "; above that, nothing measured here is shown to hold"
    if below:
        sentence += f". At {below.high:.3f} or lower the cheaper {below.name} would do"
    return Point(head="The target", sentence=sentence + ".")


def _limits(task: Task, table: Table) -> Point | None:
    """Candidates good enough that only a plain limit keeps out."""
    asked = task.targets.at_least
    kept_out = [
        f"{row.name}: {' '.join(broken)}"
        for row in table.rows
        if able(row)
        and asked is not None
        and _shown(task, [row])[0] >= asked * GRID
        and (broken := over(row, task.targets))
    ]
    if not kept_out:
        return None
    return Point(head="The limits", sentence="Good enough, but kept out by a limit. " + " ".join(kept_out))


def _next_best(task: Task, table: Table, chosen: Row) -> Point | None:
    other = next_best(table, chosen)
    if other is None:
        return None
    paired = _paired(task, chosen, other)
    difference = paired.difference.value if paired else _value(other) - _value(chosen)
    relation = "better" if difference > 0 else "worse"
    sentence = f"{other.name} is {figures.points(difference)} points {relation} than {chosen.name}"
    if abs(difference) < 5e-4:
        sentence = f"{other.name} measures the same as {chosen.name}"
    if paired:
        between = figures.between(paired.difference.low, paired.difference.high)
        sentence += (
            f" on the same {paired.difference.n:,} rows (95 % interval {between}; "
            f"{paired.test}, {_p_value(paired.p_value)})"
        )
    price = _price(chosen, other)
    return Point(head="The next best", sentence=f"{sentence}{', ' + price if price else ''}.")


def _price(chosen: Row, other: Row) -> str:
    """'at 14× the cost, 22× the p95 latency and 3.1× the memory', the notable ones."""
    fast, slow = chosen.latency, other.latency
    pairs: tuple[tuple[str, float | None, float | None], ...] = (
        ("the cost", other.cost_per_1000, chosen.cost_per_1000),
        ("the p95 latency", slow.p95 if slow else None, fast.p95 if fast else None),
        ("the memory", other.peak_memory_bytes, chosen.peak_memory_bytes),
    )
    ratios = [(name, figures.times(a, b)) for name, a, b in pairs if a and b and a > NOTABLE * b]
    parts = [f"{ratio} {name}" for name, ratio in ratios]
    if not parts:
        return ""
    return f"at {_series(parts)}"


def _flagship(task: Task, table: Table, chosen: Row) -> Point | None:
    flagship = next((row for row in table.rows if row.kind == "flagship" and row.metric), None)
    if flagship is None or flagship.name == chosen.name:
        return None
    paired = _paired(task, flagship, chosen)
    gap = paired.difference.value if paired else _value(chosen) - _value(flagship)
    relation = "above" if gap > 0 else "below"
    sentence = f"{chosen.name} is {figures.points(gap)} points {relation} the flagship ({flagship.engine})"
    if paired:
        between = figures.between(paired.difference.low, paired.difference.high)
        sentence += f" (95 % interval {between}, on the same rows)"
    ratio = figures.times(flagship.cost_per_1000, chosen.cost_per_1000)
    if ratio and flagship.cost_per_1000:
        sentence += (
            f". A thousand requests cost {figures.dollars(flagship.cost_per_1000)} there and "
            f"{figures.dollars(chosen.cost_per_1000)} here, {ratio} cheaper"
        )
    return Point(head="The flagship", sentence=sentence + ".")


def _open(table: Table, chosen: Row | None) -> Point | None:
    """How many rows would settle what is not settled, the fewest first."""
    unsettled = [row for row in table.rows if row.verdict and row.verdict.outcome == "inconclusive"]
    needed: dict[int, list[str]] = {}
    for row in unsettled:
        if row.verdict and row.verdict.rows_needed:
            needed.setdefault(row.verdict.rows_needed, []).append(row.name)
    sentences = [
        f"About {figures.about(more)} more would settle {_series(names)}."
        for more, names in sorted(needed.items())
    ]
    stuck = [row.name for row in unsettled if row.verdict and not row.verdict.rows_needed]
    if stuck:
        sentences.append(f"No sensible number of rows would settle {_series(stuck)}: see the table.")
    cheaper = [
        row.name for row in unsettled if chosen and row is not chosen and cheapest([row, chosen]) is row
    ]
    if cheaper and chosen:
        sentences.append(f"Cheaper than {chosen.name}, should it pass: {_series(cheaper)}.")
    return Point(head="More test rows", sentence=" ".join(sentences)) if sentences else None


def _skipped(table: Table) -> list[Point]:
    """One point for each reason, with all the candidates that it keeps out."""
    reasons: dict[str, list[str]] = {}
    for row in table.rows:
        if row.skipped:
            reasons.setdefault(row.skipped, []).append(row.name)
    return [
        Point(head="Not measured", sentence=f"{', '.join(names)}: {reason.rstrip('.')}.")
        for reason, names in reasons.items()
    ]


def _paired(task: Task, a: Row, b: Row) -> Comparison | None:
    """`b` against `a` on the same rows, where both left records of them."""
    if not (a.records and b.records and a.records.is_file() and b.records.is_file()):
        return None
    try:
        return compare(records.read(a.records), records.read(b.records), task.targets.metric, kind=task.kind)
    except DataError:  # not the same rows: the plain difference is all that can be said
        return None


def _series(words: Sequence[str]) -> str:
    """'a', 'a and b', 'a, b and c'."""
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else words[0]


def _p_value(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p = {p:.2g}"


def _value(row: Row) -> float:
    return row.metric.value if row.metric else 0.0
