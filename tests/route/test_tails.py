"""Exact tails agree with scipy, with enumeration and with draws, and never claim more often than allowed."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smallworks.route import tails


@settings(max_examples=30)
@given(st.integers(1, 400), st.data(), st.floats(0.001, 0.999))
def test_binomial_tails_are_those_of_scipy(n: int, data: st.DataObject, p: float) -> None:
    binom = pytest.importorskip("scipy.stats").binom
    k = data.draw(st.integers(0, n))
    assert tails.at_most(k, n, p) == pytest.approx(binom.cdf(k, n, p), abs=1e-9)
    assert tails.at_least(k, n, p) == pytest.approx(binom.sf(k - 1, n, p), abs=1e-9)


@pytest.mark.parametrize(("k", "n"), [(0, 20), (3, 100), (19, 20), (20, 20)])
def test_the_bounds_are_those_of_clopper_and_pearson(k: int, n: int) -> None:
    beta = pytest.importorskip("scipy.stats").beta
    assert tails.upper(k, n, 0.05) == pytest.approx(1 if k == n else beta.ppf(0.95, k + 1, n - k), abs=1e-8)
    assert tails.lower(k, n, 0.05) == pytest.approx(0 if k == 0 else beta.ppf(0.05, k, n - k + 1), abs=1e-8)


def enumerated(d: int, n: int, loss: float, gain: float) -> float:
    """P(losses − gains ≤ d), every outcome of the trinomial added up."""
    return sum(
        math.comb(n, a) * math.comb(n - a, b) * loss**a * gain**b * (1 - loss - gain) ** (n - a - b)
        for a in range(n + 1)
        for b in range(n - a + 1)
        if a - b <= d
    )


@pytest.mark.parametrize("d", [-3, 0, 2, 5])
@pytest.mark.parametrize(("disagreeing", "margin"), [(0.1, 0.05), (0.4, 0.1), (0.05, 0.05)])
def test_the_tail_of_a_difference_is_the_sum_over_all_outcomes(
    d: int, disagreeing: float, margin: float
) -> None:
    loss, gain = (disagreeing + margin) / 2, (disagreeing - margin) / 2
    wanted = enumerated(d, 40, loss, gain)
    assert tails._difference_at_most(d, 40, disagreeing, margin) == pytest.approx(wanted, abs=1e-7)
    assert tails._chernoff(d, 40, disagreeing, margin) >= wanted - 1e-12


@pytest.mark.parametrize("disagreeing", [0.02, 0.03, 0.06, 0.15, 0.5])
@pytest.mark.parametrize("n", [150, 400, 1500])
def test_on_the_very_edge_a_claim_is_wrong_at_most_so_often(disagreeing: float, n: int) -> None:
    """Losing exactly the margin, whatever the share of rows that disagree: the claim errs in at most 5 %."""
    margin, luck = 0.02, 0.05
    loss, gain = (disagreeing + margin) / 2, (disagreeing - margin) / 2
    rng = np.random.default_rng(n)
    drawn = rng.multinomial(n, [loss, gain, 1 - loss - gain], size=2000)
    cells, times = np.unique(drawn, axis=0, return_counts=True)
    claims = sum(
        int(count)
        for (a, b, _), count in zip(cells, times, strict=True)
        if tails.within(int(a), int(b), n, margin, luck=luck)
    )
    assert claims <= 2000 * luck + 3 * math.sqrt(2000 * luck)


@given(st.integers(0, 30), st.integers(0, 30), st.integers(200, 2000))
def test_one_more_loss_never_helps(losses: int, gains: int, n: int) -> None:
    if tails.within(losses + 1, gains, n, 0.02, luck=0.05):
        assert tails.within(losses, gains, n, 0.02, luck=0.05)


def test_the_worst_share_of_disagreeing_rows_is_among_those_looked_at() -> None:
    for losses, gains, n in ((2, 2, 800), (10, 8, 1500), (40, 45, 2000)):
        most = tails.upper(losses + gains, n, 0.01)
        fine = [tails._difference_at_most(losses - gains, n, s, 0.01) for s in np.linspace(0.01, most, 80)]
        looked = [
            tails._difference_at_most(losses - gains, n, s, 0.01)
            for s in np.linspace(most, 0.01, tails.DISAGREEING, endpoint=False)
        ]
        assert max(fine) <= max(looked) + 1e-4
