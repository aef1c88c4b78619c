"""Intervals against scipy, and how often they hold the truth."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smallworks.evaluate.intervals import (
    Floats,
    Tally,
    at_least,
    at_most,
    bootstrap,
    paired_difference,
    quantile,
    resample,
    wilson,
)


def mean(sums: Floats) -> Floats:
    value: Floats = sums[:, 0] / sums[:, 1]
    return value


def tally(values: Floats) -> Tally:
    distinct, times = np.unique(values, return_counts=True)
    return Tally(parts=np.column_stack([distinct, np.ones(len(distinct))]), times=times)


@pytest.mark.parametrize(("hits", "n"), [(0, 1), (1, 1), (0, 30), (30, 30), (17, 20), (2810, 3080)])
def test_wilson_agrees_with_scipy(hits: int, n: int) -> None:
    stats = pytest.importorskip("scipy.stats")
    for level in (0.9, 0.95):
        oracle = stats.binomtest(hits, n).proportion_ci(level, method="wilson")
        found = wilson(hits, n, level=level)
        assert (found.low, found.high) == pytest.approx((oracle.low, oracle.high), abs=1e-12)


@settings(deadline=None)
@given(st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_holds_its_value_within_0_and_1(case: tuple[int, int]) -> None:
    found = wilson(*case)
    assert 0 <= found.low <= found.value <= found.high <= 1
    assert found.high > found.low


@pytest.mark.parametrize("n", [50, 240, 1000])
def test_wilson_covers_95_in_100_on_average(n: int) -> None:
    stats = pytest.importorskip("scipy.stats")
    hits = np.arange(n + 1)
    ends = [wilson(int(k), n) for k in hits]
    covered = [
        sum(stats.binom.pmf(k, n, p) for k, e in zip(hits, ends, strict=True) if e.low <= p <= e.high)
        for p in np.linspace(0.5, 0.97, 20)
    ]
    assert 0.93 <= np.mean(covered) <= 0.97


@settings(deadline=None)
@given(st.integers(1, 400), st.floats(0.001, 0.999), st.data())
def test_binomial_tails_agree_with_scipy(n: int, p: float, data: st.DataObject) -> None:
    stats = pytest.importorskip("scipy.stats")
    k = data.draw(st.integers(0, n))
    assert at_most(k, n, p) == pytest.approx(stats.binom.cdf(k, n, p), rel=1e-9, abs=1e-12)
    assert at_least(k, n, p) == pytest.approx(stats.binom.sf(k - 1, n, p), rel=1e-9, abs=1e-12)


def test_binomial_tails_of_a_hundred_thousand_rows_agree_too() -> None:
    stats = pytest.importorskip("scipy.stats")
    assert at_most(49_700, 100_000, 0.5) == pytest.approx(stats.binom.cdf(49_700, 100_000, 0.5), rel=1e-8)
    assert [at_most(k, 3, p) for k, p in ((3, 1.0), (2, 1.0), (0, 0.0), (-1, 0.0))] == [1, 0, 1, 0]


def test_quantiles_are_the_normal_ones() -> None:
    assert quantile(0.95) == pytest.approx(1.959964, abs=1e-6)
    assert quantile(0.95, sided=1) == pytest.approx(1.644854, abs=1e-6)


def test_the_bootstrap_agrees_with_scipys_bca() -> None:
    stats = pytest.importorskip("scipy.stats")
    values = np.random.default_rng(0).beta(5, 1, 400)
    oracle = stats.bootstrap((values,), np.mean, n_resamples=4000, method="BCa", rng=1).confidence_interval
    found = bootstrap(tally(values), mean, resamples=4000)
    assert (found.low, found.high) == pytest.approx((oracle.low, oracle.high), abs=0.002)


def test_drawing_equal_rows_together_changes_nothing() -> None:
    values = np.array([0.0] * 30 + [0.5] * 20 + [1.0] * 50)
    one_by_one = Tally(parts=np.column_stack([values, np.ones(100)]), times=np.ones(100, dtype=np.int64))
    together, apart = (resample(t, mean, seed=2, resamples=20_000) for t in (tally(values), one_by_one))
    assert together.std() == pytest.approx(apart.std(), rel=0.03)
    assert together.std() == pytest.approx(values.std() / 10, rel=0.03)


def test_rows_all_alike_are_not_taken_for_certainty() -> None:
    found = bootstrap(tally(np.ones(10)), mean)
    assert found == wilson(10, 10)
    assert found.low < 0.75
    assert bootstrap(tally(np.array([0.4])), mean).high > 0.8


def test_the_bootstrap_covers_95_in_100() -> None:
    draw = np.random.default_rng(7)
    covered = 0
    for seed in range(400):
        values = np.where(draw.random(100) < 0.7, 1.0, draw.random(100))
        found = bootstrap(tally(values), mean, seed=seed, resamples=300)
        covered += found.low <= 0.85 <= found.high
    assert 0.92 <= covered / 400 <= 0.98


def test_no_disagreement_on_few_rows_is_not_certainty_either() -> None:
    assert paired_difference(0, 0, 20).low < -0.1  # as Wilson's 0 of 20
    assert paired_difference(0, 0, 2000).low > -0.003


def test_the_paired_difference_covers_95_in_100() -> None:
    draw = random.Random(5)
    covered = 0
    for _ in range(1000):
        cells = draw.choices("abn", weights=(0.08, 0.05, 0.87), k=200)
        found = paired_difference(cells.count("a"), cells.count("b"), 200)
        covered += found.low <= -0.03 <= found.high
    assert 0.93 <= covered / 1000 <= 0.98
