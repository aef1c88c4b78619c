"""Three verdicts, what they say, and how often they are wrong."""

import math
from collections.abc import Callable

import numpy as np
import pytest

from smallworks.evaluate.compare import compare
from smallworks.evaluate.intervals import Floats, Tally, bootstrap, paired_difference, wilson
from smallworks.evaluate.verdict import MOST_ROWS, against_target, combine, limits, non_inferior
from smallworks.types import Comparison, Estimate, Latency, Record, Targets, Verdict

Make = Callable[..., list[Record]]


@pytest.mark.parametrize(
    ("hits", "n", "target", "outcome"),
    [
        (2810, 3080, 0.90, "pass"),
        (2600, 3080, 0.90, "fail"),
        (207, 240, 0.85, "inconclusive"),
        (10, 10, 0.85, "inconclusive"),
        (19, 19, 0.85, "pass"),
        (0, 5, 0.85, "fail"),
        (3, 4, 0.85, "inconclusive"),
    ],
)
def test_a_proportion_passes_only_when_luck_is_ruled_out(
    hits: int, n: int, target: float, outcome: str
) -> None:
    assert against_target(wilson(hits, n), target, metric="accuracy").outcome == outcome


def test_the_sentence_names_value_interval_rows_target_and_what_would_settle_it() -> None:
    verdict = against_target(wilson(210, 240), 0.85, metric="accuracy")
    assert verdict.reason == (
        "accuracy 0.875 [0.827, 0.911] on 240 rows: 0.85 or better is not shown yet; "
        "about 360 more test rows would settle it."
    )
    passed = against_target(wilson(2810, 3080), 0.9, metric="accuracy")
    assert passed.reason == "accuracy 0.912 [0.902, 0.922] on 3,080 rows: 0.9 or better is shown."


@pytest.mark.parametrize(
    ("hits", "n", "target"), [(210, 240, 0.85), (95, 100, 0.9), (82, 100, 0.85), (9, 10, 0.8)]
)
def test_the_rows_needed_do_settle_it(hits: int, n: int, target: float) -> None:
    verdict = against_target(wilson(hits, n), target, metric="accuracy")
    assert verdict.outcome == "inconclusive" and verdict.rows_needed
    rows = n + verdict.rows_needed
    held = math.floor(hits / n * rows) if hits / n > target else math.ceil(hits / n * rows)
    assert against_target(wilson(held, rows), target, metric="accuracy").outcome != "inconclusive"
    fewer = n + verdict.rows_needed // 2
    assert (
        against_target(wilson(hits / n * fewer, fewer), target, metric="accuracy").outcome == "inconclusive"
    )


@pytest.mark.parametrize(("hits", "target"), [(850, 0.85), (849, 0.85), (1000, 1.0)])
def test_a_value_at_its_target_is_too_close_to_tell(hits: int, target: float) -> None:
    verdict = against_target(wilson(hits, 1000), target, metric="accuracy")
    assert (verdict.outcome, verdict.rows_needed) == ("inconclusive", None)
    assert "too close to tell with any sensible number of rows" in verdict.reason


def test_other_metrics_scale_with_the_square_root_of_the_rows() -> None:
    estimate = Estimate(value=0.80, low=0.76, high=0.84, n=100)
    verdict = against_target(estimate, 0.78, metric="macro_f1")
    assert verdict.rows_needed == pytest.approx(100 * (0.04 * 0.8392 / 0.02) ** 2 - 100, rel=0.03)
    assert against_target(estimate, 0.765, metric="macro_f1").outcome == "pass"
    assert against_target(estimate, 0.84, metric="macro_f1").outcome == "fail"
    assert (verdict.rows_needed or 0) < MOST_ROWS


@pytest.mark.parametrize("n", [10, 30, 100, 240, 1000])
@pytest.mark.parametrize("target", [0.5, 0.8, 0.85, 0.9, 0.95, 0.98])
def test_a_proportion_at_its_target_passes_or_fails_wrongly_at_most_once_in_twenty(
    n: int, target: float
) -> None:
    stats = pytest.importorskip("scipy.stats")
    chance = stats.binom.pmf(np.arange(n + 1), n, target)
    outcomes = [against_target(wilson(k, n), target, metric="accuracy").outcome for k in range(n + 1)]
    for wrong in ("pass", "fail"):
        assert sum(p for p, o in zip(chance, outcomes, strict=True) if o == wrong) <= 0.05 + 1e-9


@pytest.mark.slow
@pytest.mark.parametrize("n", [60, 200])
def test_a_skewed_mean_at_its_target_passes_wrongly_about_once_in_twenty(n: int) -> None:
    draw = np.random.default_rng(11)

    def mean(sums: Floats) -> Floats:
        value: Floats = sums[:, 0] / sums[:, 1]
        return value

    passes = 0
    for seed in range(2000):
        values = np.where(draw.random(n) < 0.7, 1.0, draw.random(n))  # mean 0.85, crowded at 1
        tally = Tally(parts=np.column_stack([values, np.ones(n)]), times=np.ones(n, dtype=np.int64))
        estimate = bootstrap(tally, mean, seed=seed, resamples=500)
        passes += against_target(estimate, 0.85, metric="token_f1").outcome == "pass"
    assert passes / 2000 <= 0.06  # 0.05 and two standard errors of this count


def difference(only_a: int, only_b: int, n: int) -> Comparison:
    gap = paired_difference(only_a, only_b, n)
    return Comparison(
        metric="accuracy",
        a=wilson(n - only_b, n),
        b=wilson(n - only_a, n),
        difference=gap,
        p_value=1.0,
        test="exact McNemar",
        only_a=only_a,
        only_b=only_b,
    )


def test_not_worse_by_a_margin_passes_fails_or_waits() -> None:
    assert non_inferior(difference(20, 20, 2000), 0.02).outcome == "pass"
    assert non_inferior(difference(200, 20, 2000), 0.02).outcome == "fail"
    waiting = non_inferior(difference(4, 4, 100), 0.02, a="tuned", b="q4_0")
    assert waiting.outcome == "inconclusive"
    assert waiting.reason.startswith("accuracy of q4_0 minus tuned +0.000 [-0.0")
    assert waiting.rows_needed and "no more than 0.02 worse is not shown yet" in waiting.reason


def test_no_disagreement_on_twenty_rows_shows_nothing_yet() -> None:
    assert non_inferior(difference(0, 0, 20), 0.02).outcome == "inconclusive"


@pytest.mark.parametrize("shares", [(0.10, 0.05), (0.05, 0.03), (0.03, 0.01), (0.02, 0.001)])
@pytest.mark.parametrize("n", [50, 300])
def test_a_candidate_worse_by_the_margin_passes_at_most_about_once_in_twenty(
    n: int, shares: tuple[float, float]
) -> None:
    multinomial = pytest.importorskip("scipy.stats").multinomial(n, [*shares, 1 - sum(shares)])
    cells = [(a, b) for a in range(n // 4) for b in range(n // 6) if a + b <= n]
    chances = multinomial.pmf([(a, b, n - a - b) for a, b in cells])
    wrong = sum(
        chance
        for (a, b), chance in zip(cells, chances, strict=True)
        if chance > 1e-7 and non_inferior(difference(a, b, n), shares[0] - shares[1]).outcome == "pass"
    )
    assert wrong <= 0.052


def test_limits_are_plain() -> None:
    targets = Targets(metric="accuracy", p95_ms=50, memory_mb=500, cost_per_1000=0.01)
    latency = Latency(p50=20, p95=47.25, p99=80, n=200, rows_per_second=40)
    speed, memory, cost = limits(targets, latency=latency, memory_bytes=612_000_000)
    assert (speed.outcome, speed.reason) == ("pass", "p95 latency 47.2 ms is within the limit of 50 ms.")
    assert (memory.outcome, memory.reason) == ("fail", "peak memory 612 MB is over the limit of 500 MB.")
    assert (cost.outcome, cost.reason) == (
        "inconclusive",
        "cost per 1,000 requests was not measured; at most $0.01 is asked.",
    )
    assert limits(Targets(metric="accuracy")) == ()


@pytest.mark.parametrize(
    ("lost", "outcome", "said"),
    [
        (30, "fail", "is over the limit of 0.05."),
        (4, "pass", "is not shown to be over"),
        (2, "pass", "within"),
    ],
)
def test_rows_in_scope_that_are_handed_over_have_a_limit(lost: int, outcome: str, said: str) -> None:
    targets = Targets(metric="accuracy", in_scope_loss=0.05)
    (found,) = limits(targets, loss=wilson(lost, 60))
    assert found.outcome == outcome and said in found.reason
    assert limits(targets) == () == limits(Targets(metric="accuracy"), loss=wilson(60, 60))


def test_fail_beats_inconclusive_beats_pass() -> None:
    passed = Verdict(outcome="pass", reason="ok")
    few = Verdict(outcome="inconclusive", reason="few", rows_needed=10)
    many = Verdict(outcome="inconclusive", reason="many", rows_needed=900)
    hopeless = Verdict(outcome="inconclusive", reason="too close")
    failed = Verdict(outcome="fail", reason="slow")
    assert combine([passed, few, failed, many]) is failed
    assert combine([passed, few, many]) is many
    assert combine([few, hopeless, many]) is hopeless
    assert combine([passed]) is passed
    assert combine([]).outcome == "pass"


def test_a_comparison_goes_straight_into_its_gate(make: Make) -> None:
    a = make("classify", [("bug", "bug")] * 300)
    verdict = non_inferior(compare(a, a, "accuracy", kind="classify"), 0.02)
    assert verdict.outcome == "pass"
