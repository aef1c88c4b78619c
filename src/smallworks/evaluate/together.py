"""Several candidates tried on the same test rows: which of their claims hold together.

Each alone has its one chance in twenty to pass by luck, so the luckiest of many has far more. Holm's
procedure keeps to a twentieth the chance that any of them passes wrongly, however their answers hang
together. So whichever is chosen, by cost or by anything else, is wrong at most so often. Fails are each
candidate's own. Source: Holm 1979. Knows estimates and comparisons; knows nothing of costs or rows.
"""

from __future__ import annotations

from collections.abc import Sequence

from smallworks.evaluate.verdict import (
    LUCK,
    against_target,
    chance_at_margin,
    chance_at_target,
    non_inferior,
)
from smallworks.types import Comparison, Estimate, Verdict


def holm(chances: Sequence[float]) -> tuple[int, ...]:
    """Among how many each claim is judged: it holds when its p-value times that is at most LUCK.

    The smallest p-value stands against all of them; each that holds leaves one fewer for the next.
    """
    stages, left = [0] * len(chances), len(chances)
    for i in sorted(range(len(chances)), key=lambda i: chances[i]):
        stages[i] = left
        left -= chances[i] * left <= LUCK
    return tuple(stages)


def shown_together(estimates: Sequence[Estimate], target: float, *, metric: str) -> tuple[bool, ...]:
    """Which of them pass together; every one that passes a target also passes any lower one."""
    chances = [chance_at_target(estimate, target, metric=metric) for estimate in estimates]
    return tuple(p * stage <= LUCK for p, stage in zip(chances, holm(chances), strict=True))


def targets_together(estimates: Sequence[Estimate], target: float, *, metric: str) -> tuple[Verdict, ...]:
    """`against_target` for each of several candidates, corrected for their number."""
    stages = holm([chance_at_target(estimate, target, metric=metric) for estimate in estimates])
    return tuple(
        against_target(estimate, target, metric=metric, among=among)
        for estimate, among in zip(estimates, stages, strict=True)
    )


def non_inferior_together(
    comparisons: Sequence[Comparison], margin: float, *, a: str, names: Sequence[str]
) -> tuple[Verdict, ...]:
    """`non_inferior` of each of several candidates to the same `a`, corrected for their number."""
    stages = holm([chance_at_margin(comparison, margin) for comparison in comparisons])
    return tuple(
        non_inferior(comparison, margin, a=a, b=name, among=among)
        for comparison, name, among in zip(comparisons, names, stages, strict=True)
    )
