"""Rows in groups: errors as statsmodels has them, and how often intervals and verdicts are right."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from smallworks.evaluate.clusters import Groups, design_effect, groups_of, share, standard_error
from smallworks.evaluate.compare import compare
from smallworks.evaluate.intervals import paired_difference, wilson
from smallworks.evaluate.metrics import summarise
from smallworks.evaluate.verdict import against_target, chance_at_margin, chance_at_target, non_inferior
from smallworks.types import Estimate, Record

Make = Callable[..., list[Record]]

LUCK = 0.05


def groups(of: np.ndarray) -> Groups:
    return Groups(of=of, count=int(of.max()) + 1)


ROWS = np.arange(60)
FEW = np.array([0, 0, 0, 1, 1, 2, 2, 2, 2, 3, 4, 4])
CASES = [
    (FEW, np.array([1, 1, 0, 1, 1, 0, 0, 1, 0, 1, 0.25, 0.5]), 0.1547234455990933),
    ((ROWS * 7) % 13, ((ROWS * ROWS) % 5) / 4, 0.01622683534103879),
    (ROWS // 3, ((ROWS * 37) % 10 < 7).astype(float), 0.02294157338705619),
]
"""Groups, values, and what statsmodels 0.15.0 says: OLS(values, ones).fit("cluster", …).bse[0]."""


@pytest.mark.parametrize(("of", "values", "oracle"), CASES)
def test_the_standard_error_of_a_mean_is_statsmodels(
    of: np.ndarray, values: np.ndarray, oracle: float
) -> None:
    assert standard_error(values, groups(of)) == pytest.approx(oracle, abs=1e-6)


def test_and_so_it_is_on_rows_drawn_now() -> None:
    api = pytest.importorskip("statsmodels.api")
    draw = np.random.default_rng(3)
    of, values = draw.integers(0, 40, 500), draw.beta(4, 1, 500)
    fitted = api.OLS(values, np.ones(500)).fit(cov_type="cluster", cov_kwds={"groups": of})
    assert standard_error(values, groups(of)) == pytest.approx(fitted.bse[0], abs=1e-6)


def test_rows_without_a_group_stand_alone() -> None:
    assert groups_of(["", "", ""]) is None and groups_of(["a", "b", ""]) is None
    found = groups_of(["a", "", "a", ""])
    assert found is not None and found.count == 3 and found.of.tolist() == [0, 1, 0, 2]


def test_groups_that_are_all_right_or_all_wrong_count_as_rows() -> None:
    values, of = np.repeat([1.0, 1, 1, 0, 1] * 8, 6), np.repeat(np.arange(40), 6)
    found = share(values, groups(of))
    assert found.design == pytest.approx(6, rel=0.1) and (found.n, found.groups) == (240, 40)
    assert found.high - found.low == pytest.approx(wilson(32, 40).high - wilson(32, 40).low, rel=0.05)


def test_rows_all_alike_are_not_taken_for_certainty() -> None:
    of = np.repeat(np.arange(10), 5)
    assert share(np.ones(50), groups(of)).low == pytest.approx(wilson(10, 10).low)
    assert share(np.ones(5), groups(np.zeros(5, dtype=int))).low == pytest.approx(wilson(1, 1).low)


def test_more_than_one_row_each_is_never_claimed() -> None:
    """Groups that differ less than chance has it do not make rows tell more."""
    values, of = np.tile([1.0, 0], 50), np.repeat(np.arange(50), 2)
    assert design_effect(values, groups(of)) == 1.0
    assert share(values, groups(of)) == replace(wilson(50, 100), groups=50)


@cache
def drawn(seed: int, count: int, right: float, alike: float) -> tuple[np.ndarray, Groups]:
    """Rows of 0 and 1 in groups of 1 or more, six on average; `alike` is the correlation within a group."""
    draw = np.random.default_rng(seed)
    of = np.repeat(np.arange(count), 1 + draw.poisson(5, count))
    odds = (1 - alike) / alike
    rates = draw.beta(right * odds, (1 - right) * odds, count)
    return (draw.random(len(of)) < rates[of]).astype(float), Groups(of=of, count=count)


@pytest.mark.parametrize(("count", "right", "alike"), [(40, 0.85, 0.3), (80, 0.9, 0.4), (30, 0.7, 0.1)])
def test_intervals_of_a_share_hold_the_truth_93_to_97_times_in_100(
    count: int, right: float, alike: float
) -> None:
    sets = [drawn(seed, count, right, alike) for seed in range(1000)]
    found = [share(*one) for one in sets]
    assert 0.93 <= np.mean([e.low <= right <= e.high for e in found]) <= 0.97
    blind = [wilson(values.sum(), len(values)) for values, _ in sets]
    assert np.mean([e.low <= right <= e.high for e in blind]) < 0.9  # what groups are for


@pytest.mark.parametrize(("count", "right", "alike"), [(40, 0.85, 0.3), (80, 0.9, 0.4)])
def test_a_candidate_on_its_target_passes_or_fails_at_most_about_once_in_twenty(
    count: int, right: float, alike: float
) -> None:
    found = [share(*drawn(seed, count, right, alike)) for seed in range(1000)]
    outcomes = [against_target(e, right, metric="accuracy").outcome for e in found]
    for wrong in ("pass", "fail"):
        assert outcomes.count(wrong) / 1000 <= LUCK + 2 * (LUCK * (1 - LUCK) / 1000) ** 0.5


def named(records: list[Record], size: int) -> list[Record]:
    """The records in groups of so many neighbours."""
    return [replace(record, group=f"g{i // size}") for i, record in enumerate(records)]


def test_intervals_of_other_metrics_hold_the_truth_too(make: Make) -> None:
    draw, held = np.random.default_rng(1), 0
    for seed in range(150):
        rates = np.repeat(draw.beta(4, 1, 40), 4)
        said = [("one two", "one two" if draw.random() < rate else "one") for rate in rates]
        found = summarise(
            named(make("generate", said), 4), "generate", ["token_f1"], seed=seed, resamples=300
        )
        held += found["token_f1"].low <= 0.8 + 0.2 * 2 / 3 <= found["token_f1"].high
        assert (found["token_f1"].n, found["token_f1"].groups) == (160, 40)
    assert 0.91 <= held / 150 <= 0.99


def test_groups_widen_every_metric_and_move_none(make: Make) -> None:
    rows = [("bug", "bug" if i % 30 < 24 else "feature") for i in range(240)]
    alone, together = (
        summarise(r, "classify") for r in (make("classify", rows), named(make("classify", rows), 6))
    )
    for name, found in together.items():
        assert found.value == pytest.approx(alone[name].value) and found.groups == 40
        assert found.high - found.low > 1.5 * (alone[name].high - alone[name].low), name


def test_a_comparison_by_groups_is_less_sure(make: Make) -> None:
    a = make("classify", [("bug", "bug")] * 240)
    b = make("classify", [("bug", "feature" if i < 12 else "bug") for i in range(240)])
    alone, together = (
        compare(x, y, "accuracy", kind="classify") for x, y in ((a, b), (named(a, 6), named(b, 6)))
    )
    assert together.test == "McNemar by groups" and together.difference.groups == 40
    assert (together.only_a, together.only_b, together.difference.value) == (12, 0, alone.difference.value)
    assert alone.p_value < 0.001 < 0.05 < together.p_value < 0.5
    f1 = compare(named(a, 6), named(b, 6), "macro_f1", kind="classify", resamples=200)
    assert f1.test == "paired bootstrap by groups" and (f1.difference.n, f1.difference.groups) == (240, 40)


def test_two_that_are_the_same_do_not_differ(make: Make) -> None:
    a = named(make("classify", [("bug", "bug")] * 60), 6)
    found = compare(a, a, "accuracy", kind="classify")
    assert found.p_value == 1.0 and found.difference.low < -0.1  # as ten rows would have it


def test_equal_candidates_are_found_different_at_most_about_once_in_twenty(make: Make) -> None:
    draw, found = np.random.default_rng(9), 0
    for _ in range(250):
        leans = np.repeat(draw.choice([0.02, 0.5, 0.98], 40, p=(0.2, 0.6, 0.2)), 4)
        b_right = draw.random(160) < leans
        pairs = [[("bug", "bug" if right else "idea") for right in side] for side in (~b_right, b_right)]
        a, b = (named(make("classify", side, ("bug", "idea")), 4) for side in pairs)
        found += compare(a, b, "accuracy", kind="classify").p_value < LUCK
    assert found / 250 <= 0.08


def test_the_verdict_says_how_many_groups_and_agrees_with_its_p_value() -> None:
    for seed in range(60):
        estimate = share(*drawn(seed, 40, 0.9, 0.3))
        verdict = against_target(estimate, 0.85, metric="accuracy")
        assert f"on {estimate.n} rows in 40 groups: 0.85 or better" in verdict.reason
        chance = chance_at_target(estimate, 0.85, metric="accuracy")
        assert (verdict.outcome == "pass") == (chance <= LUCK and estimate.value > 0.85)


def test_rows_needed_are_rows_in_such_groups() -> None:
    estimate = Estimate(value=0.88, low=0.80, high=0.93, n=300, groups=50, design=3.0)
    more = against_target(estimate, 0.85, metric="accuracy").rows_needed or 0
    alone = against_target(wilson(88, 100), 0.85, metric="accuracy").rows_needed or 0
    assert more == pytest.approx(3 * alone, rel=0.1)


def test_no_more_than_a_margin_worse_is_judged_by_groups(make: Make) -> None:
    rows = [("bug", "bug")] * 600
    worse = [("bug", "feature" if i < 6 else "bug") for i in range(600)]
    alone, together = (
        compare(
            grouped(make("classify", rows)), grouped(make("classify", worse)), "accuracy", kind="classify"
        )
        for grouped in (list, lambda records: named(records, 6))
    )
    assert non_inferior(alone, 0.03).outcome == "pass"
    waiting = non_inferior(together, 0.03)
    assert waiting.outcome == "inconclusive" and "on 600 rows in 100 groups" in waiting.reason
    assert chance_at_margin(alone, 0.03) < LUCK < chance_at_margin(together, 0.03)
    fewer = paired_difference(6 / together.difference.design, 0, 600 / together.difference.design)
    assert (together.difference.low, together.difference.high) == (fewer.low, fewer.high)
