"""The choice: a table of cases, each with the row that is chosen and the reason that is given."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from smallworks.evaluate.intervals import wilson
from smallworks.evaluate.verdict import against_target
from smallworks.recipes.choose import choose, judge_together
from smallworks.types import LOSS, Estimate, Latency, Outcome, Parity, Row, Targets, Verdict

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

    def verdict(best: Row, other: Row) -> Verdict:
        assert best.metric and other.metric
        near = best.metric.value - other.metric.value <= margin
        return Verdict(outcome="pass" if near else "fail", reason=f"{other.name} against {best.name}.")

    return lambda best, others: [verdict(best, other) for other in others]


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


def measured(name: str, hits: int, **more: object) -> Row:
    """A row of 240 test rows with the verdict that it has alone against 0.8."""
    metric = wilson(hits, 240)
    alone = against_target(metric, 0.8, metric="accuracy")
    return replace(row(name, metric.value), metric=metric, verdict=alone, **more)  # type: ignore[arg-type]


def test_verdicts_are_corrected_for_how_many_may_be_chosen() -> None:
    rows = [measured("sure", 220), measured("narrow", 204), *(measured(f"x{i}", 120) for i in range(7))]
    assert [r.verdict.outcome for r in rows[:2] if r.verdict] == ["pass", "pass"]
    judged = judge_together(rows, ACCURACY)
    assert [r.name for r in judged] == [r.name for r in rows]
    assert [r.verdict.outcome for r in judged[:2] if r.verdict] == ["pass", "inconclusive"]
    assert judged[1].verdict and "as one of 8 tried" in judged[1].verdict.reason
    assert judge_together(rows, OPEN) == tuple(rows)


def test_what_could_not_be_chosen_anyway_does_not_count() -> None:
    out = [measured(f"x{i}", 120, bundle=None) for i in range(4)]
    out += [measured(f"y{i}", 120, parity=BROKEN) for i in range(4)]
    slow = Latency(p50=90, p95=99, p99=99, n=9, rows_per_second=1)
    out += [measured(f"z{i}", 120, latency=slow) for i in range(4)]
    fast = measured("narrow", 204, latency=replace(slow, p95=5))
    judged = judge_together([fast, *out], replace(ACCURACY, p95_ms=50))
    assert judged[0].verdict and judged[0].verdict.outcome == "pass"
    assert judged[1:] == tuple(out)


def test_a_lucky_one_of_thirteen_is_chosen_as_holding_in_at_most_one_test_set_of_twenty(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("smallworks.evaluate.verdict.MOST_ROWS", 1)  # how many more is not asked here
    draw, sets = np.random.default_rng(3), 1000
    before = after = 0
    alone = {hits: measured("", hits) for hits in range(140, 241)}
    for _ in range(sets):
        tried = [
            replace(alone[int(hits)], name=f"c{i}", cost_per_1000=i + 1)
            for i, hits in enumerate(draw.binomial(240, 0.8, size=13))
        ]
        before += "holds the target and" in choose(tried, ACCURACY, within())[1]
        after += "holds the target and" in choose(judge_together(tried, ACCURACY), ACCURACY, within())[1]
    assert before / sets > 0.2
    assert after / sets <= 0.064  # 0.05 and two standard errors of this count


def test_rows_in_scope_that_are_lost_beyond_the_limit_fail_and_count_all_the_same() -> None:
    lost = {LOSS: wilson(120, 240)}
    rows = [measured("narrow", 204), measured("lossy", 220, metrics=lost)]
    rows += [measured(f"x{i}", 120, metrics=lost) for i in range(6)]
    narrow, lossy, *_ = judge_together(rows, replace(ACCURACY, in_scope_loss=0.05))
    assert lossy.verdict and lossy.verdict.outcome == "fail" and "in_scope_loss 0.500" in lossy.verdict.reason
    assert narrow.verdict and "as one of 7 tried" in narrow.verdict.reason, "lossy came first"
    _, kept, *_ = judge_together(rows, ACCURACY)
    assert kept.verdict and kept.verdict.outcome == "pass"
