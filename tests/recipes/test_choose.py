"""The choice: a table of cases, each with the row that is chosen and the reason that is given."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from smallworks.recipes.choose import choose
from smallworks.types import Estimate, Outcome, Parity, Row, Targets, Verdict

ACCURACY = Targets(metric="accuracy", at_least=0.8)
OPEN = Targets(metric="accuracy")


def row(name: str, value: float, outcome: Outcome = "pass", *, cost: float = 1.0, memory: int = 1) -> Row:
    return Row(
        name=name,
        kind=name,
        engine="fake",
        metric=Estimate(value=value, low=value - 0.05, high=value + 0.05, n=100),
        cost_per_1000=cost,
        peak_memory_bytes=memory,
        verdict=Verdict(outcome=outcome, reason=f"{name} {outcome}."),
        bundle=Path(name),
    )


def within(margin: float = 0.02):
    """A comparison that knows the true difference."""

    def against(best: Row, other: Row) -> Verdict:
        assert best.metric and other.metric
        near = best.metric.value - other.metric.value <= margin
        return Verdict(outcome="pass" if near else "fail", reason=f"{other.name} against {best.name}.")

    return against


BROKEN = Parity(rows=2, ids_equal=1, texts_equal=2, worst=0.0, tolerance=0.1, holds=False)
CASES = [
    (
        "the cheapest that holds",
        ACCURACY,
        [row("a", 0.95, cost=9), row("b", 0.85, cost=2)],
        "b",
        "cheapest of 2",
    ),
    (
        "the only one that holds",
        ACCURACY,
        [row("a", 0.95, cost=9), row("b", 0.6, "fail")],
        "a",
        "the only one",
    ),
    ("memory breaks a tie", ACCURACY, [row("a", 0.9, memory=7), row("b", 0.9, memory=3)], "b", "holds"),
    ("quality breaks the next tie", ACCURACY, [row("a", 0.9), row("b", 0.92)], "b", "holds"),
    (
        "undecided: the best",
        ACCURACY,
        [
            row("a", 0.81, "inconclusive"),
            row("b", 0.83, "inconclusive", cost=9),
            row("c", 0.2, "fail", cost=0),
        ],
        "b",
        "comes closest",
    ),
    (
        "none holds: the best",
        ACCURACY,
        [row("a", 0.3, "fail", cost=0), row("b", 0.5, "fail")],
        "b",
        "No candidate",
    ),
    (
        "no target: cheap and near",
        OPEN,
        [row("a", 0.90, cost=9), row("b", 0.89, cost=1)],
        "b",
        "b against a.",
    ),
    (
        "no target: nothing near",
        OPEN,
        [row("a", 0.90, cost=9), row("b", 0.70, cost=1)],
        "a",
        "has the best accuracy",
    ),
    ("no target: one alone", OPEN, [row("a", 0.90)], "a", "has the best accuracy (0.900)"),
    (
        "no target: limits go first",
        OPEN,
        [row("a", 0.95, "fail"), row("b", 0.90, cost=9), row("c", 0.89)],
        "c",
        "c against b.",
    ),
    (
        "no target: no limit kept is said",
        OPEN,
        [row("a", 0.9, "fail")],
        "a",
        "keep every limit: a fail. a has",
    ),
]


@pytest.mark.parametrize(
    ("targets", "rows", "name", "why"), [c[1:] for c in CASES], ids=[c[0] for c in CASES]
)
def test_the_choice(targets: Targets, rows: list[Row], name: str, why: str) -> None:
    for order in (rows, rows[::-1]):
        chosen, said = choose(order, targets, within())
        assert chosen is not None and chosen.name == name
        assert why in said


@pytest.mark.parametrize("targets", [ACCURACY, OPEN])
@pytest.mark.parametrize("change", [{"bundle": None}, {"metric": None}, {"parity": BROKEN}])
def test_what_cannot_be_served_is_never_chosen(targets: Targets, change: dict[str, object]) -> None:
    best = replace(row("a", 0.99, cost=0), **change)  # type: ignore[arg-type]
    chosen, _ = choose([best, row("b", 0.85)], targets, within())
    assert chosen is not None and chosen.name == "b"
    assert choose([best], targets, within())[0] is None


def test_nothing_measured_says_where_to_look() -> None:
    skipped = Row(name="a", kind="a", engine="fake", skipped="no torch")
    assert choose([skipped], ACCURACY, within()) == (
        None,
        "No candidate could be measured here: see the reasons in the table.",
    )
