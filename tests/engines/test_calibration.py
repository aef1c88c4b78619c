"""Probabilities that mean what they say: the temperature that is known is found again."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from smallworks.engines.calibration import (
    LEAST_ROWS,
    STEEPEST,
    Curve,
    apply,
    fit_isotonic,
    fit_temperature,
    prior_bias,
)

LOGP = arrays(np.float64, (4, 3), elements=st.floats(-50, 0))


@given(logp=LOGP, temperature=st.floats(0.02, 50), bias=st.none() | st.tuples(*[st.floats(-9, 9)] * 3))
def test_the_result_is_a_distribution(
    logp: np.ndarray, temperature: float, bias: tuple[float, ...] | None
) -> None:
    applied = apply(logp, temperature=temperature, bias=bias or ())
    assert np.exp(applied).sum(axis=-1) == pytest.approx(1.0)
    if bias is None:
        assert applied[range(4), logp.argmax(axis=-1)] == pytest.approx(applied.max(axis=-1))


def test_one_row_is_taken_as_many() -> None:
    logp = np.log([0.5, 0.3, 0.2])
    assert apply(logp, temperature=2.0) == pytest.approx(apply(logp[None], temperature=2.0)[0])
    assert apply(logp) == pytest.approx(logp)


def test_the_formula_is_the_one_that_bundles_state() -> None:
    logp, bias = np.log([0.5, 0.3, 0.2]), (0.1, 0.0, -0.4)
    weights = np.exp((logp + np.array(bias)) / 1.7)
    assert np.exp(apply(logp, temperature=1.7, bias=bias)) == pytest.approx(weights / weights.sum())


@pytest.mark.parametrize("temperature", [0.2, 0.7, 1.0, 3.0])
def test_a_known_temperature_is_found_again(temperature: float) -> None:
    random = np.random.default_rng(0)
    honest = apply(random.normal(size=(20_000, 4)) * 2)
    targets = np.array([random.choice(4, p=np.exp(row)) for row in honest])
    assert fit_temperature(honest * temperature, targets) == pytest.approx(temperature, rel=0.05)


def test_no_other_temperature_is_better() -> None:
    random = np.random.default_rng(1)
    logp, targets = apply(random.normal(size=(200, 3))), random.integers(0, 3, 200)
    best = fit_temperature(logp, targets)

    def loss(temperature: float) -> float:
        return -float(apply(logp, temperature=temperature)[np.arange(200), targets].mean())

    assert all(loss(best) <= loss(best * factor) + 1e-9 for factor in (0.5, 0.9, 1.1, 2.0))


CURVE: Curve = ((0.1, 0.05), (0.4, 0.3), (0.6, 0.31), (0.9, 0.8))


@given(logp=LOGP, temperature=st.floats(0.5, 5))
def test_a_curve_gives_a_distribution_and_keeps_the_order_of_labels(
    logp: np.ndarray, temperature: float
) -> None:
    plain = apply(logp, temperature=temperature)
    bent = apply(logp, temperature=temperature, isotonic=CURVE)
    assert np.exp(bent).sum(axis=-1) == pytest.approx(1.0)
    assert bent[range(4), plain.argmax(axis=-1)] == pytest.approx(bent.max(axis=-1))


def test_the_curve_is_followed_between_its_points() -> None:
    weights = np.array([0.31 + (0.7 - 0.6) / 0.3 * 0.49, 0.05 + (0.2 - 0.1) / 0.3 * 0.25, 0.05])
    assert np.exp(apply(np.log([0.7, 0.2, 0.1]), isotonic=CURVE)) == pytest.approx(
        weights / weights.sum(), abs=1e-5
    )


def said(rows: int, seed: int, *, bent: bool) -> tuple[np.ndarray, np.ndarray]:
    """Log-probabilities of three labels and what came true; `bent`: right 6 times in 10 below 0.9."""
    random = np.random.default_rng(seed)
    best = random.uniform(0.45, 1, rows)
    right = random.random(rows) < (np.where(best < 0.9, 0.6, 0.97) if bent else best)
    other = random.uniform(0.3, 0.7, rows)
    p = np.column_stack([best, (1 - best) * other, (1 - best) * (1 - other)])
    wrong = np.where(random.random(rows) < other, 1, 2)
    return np.log(p), np.where(right, 0, wrong)


def loss(logp: np.ndarray, targets: np.ndarray) -> float:
    return -float(logp[np.arange(len(targets)), targets].mean())


def test_a_curve_is_fitted_where_no_temperature_will_do_and_helps_on_new_rows() -> None:
    pytest.importorskip("sklearn")
    logp, targets = said(4000, 0, bent=True)
    new, came = said(5000, 1, bent=True)
    curve = fit_isotonic(logp, targets)
    assert curve and loss(apply(new, isotonic=curve), came) < loss(
        apply(new, temperature=fit_temperature(logp, targets)), came
    )
    sure = np.exp(apply(new, isotonic=curve)).max(axis=1)
    assert np.quantile(sure, [0.3, 0.99]) == pytest.approx([0.6, 0.97], abs=0.05)


@pytest.mark.parametrize("seed", range(6))
def test_honest_probabilities_are_left_alone(seed: int) -> None:
    assert fit_isotonic(*said(600, seed, bent=False)) == ()


def test_few_rows_fit_no_curve() -> None:
    assert fit_isotonic(*said(LEAST_ROWS - 1, 0, bent=True)) == ()


@pytest.mark.parametrize("rows", [2000, 4000])
def test_a_curve_has_no_steps(rows: int) -> None:
    """A small difference between engines stays small."""
    pytest.importorskip("sklearn")
    curve = np.array(fit_isotonic(*said(rows, 0, bent=True)))
    rise = np.diff(curve, axis=0)
    assert len(curve) > 5 and (rise > 0).all()
    assert (rise[:, 1] / rise[:, 0]).max() <= STEEPEST + 1e-9


def test_the_habit_of_a_prompt_is_undone() -> None:
    """A model that says 'A' to everything has a flat prior after its bias."""
    random = np.random.default_rng(2)
    habit = np.log([0.90, 0.07, 0.03])
    logp = apply(habit + random.normal(size=(5_000, 3)) * 0.3)
    evened = np.exp(apply(logp, bias=prior_bias(logp))).mean(axis=0)
    assert evened == pytest.approx(1 / 3, abs=0.02)
    assert all(np.isfinite(prior_bias(np.log(np.array([[1.0, 1e-300]])))))
