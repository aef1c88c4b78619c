"""The calibration error by hand and by simulation."""

from collections.abc import Callable

import numpy as np
import pytest

from smallworks.evaluate.calibration import calibration_error, ece, reliability, reliability_of
from smallworks.types import Record

Make = Callable[..., list[Record]]


def test_it_is_the_weighted_gap_of_the_bins() -> None:
    confidence = np.array([0.95, 0.95, 0.95, 0.95, 0.55, 0.55])
    right = np.array([1.0, 1.0, 1.0, 0.0, 1.0, 0.0])
    assert ece(confidence, right) == pytest.approx((4 * 0.20 + 2 * 0.05) / 6)


def test_honest_probabilities_have_little_and_boasting_ones_much() -> None:
    draw = np.random.default_rng(0)
    confidence = draw.uniform(0.3, 1, 20_000)
    right = (draw.random(20_000) < confidence).astype(np.float64)
    assert ece(confidence, right) < 0.015
    assert ece(np.full(20_000, 1.0), right) == pytest.approx(0.35, abs=0.02)


def test_records_without_probabilities_have_none(make: Make) -> None:
    assert calibration_error(make("classify", [("bug", "bug")])) is None
    assert reliability(make("classify", [("bug", "bug")])) is None and reliability([]) is None
    sure = make("classify", [("bug", "bug")], probabilities=[{"bug": 0.9, "feature": 0.1}])
    assert calibration_error(sure) == pytest.approx(0.1)


def test_reliability_has_the_same_error_and_its_bins_hold_every_row(make: Make) -> None:
    said = [{"bug": 0.9, "feature": 0.1}] * 3 + [{"bug": 0.4, "feature": 0.6}]
    records = make("classify", [("bug", "bug")] * 4, probabilities=said)
    found = reliability(records)
    assert found is not None and found.error.value == pytest.approx(calibration_error(records))
    assert [(b.confidence, b.right.value, b.right.n) for b in found.bins] == [
        (pytest.approx(0.6), 0.0, 1),
        (pytest.approx(0.9), 1.0, 3),
    ]
    assert all(b.low < b.confidence <= b.high for b in found.bins)
    assert found == reliability(records)


def test_few_rows_that_are_all_right_are_no_certainty() -> None:
    found = reliability_of(np.full(5, 0.99), np.ones(5))
    assert found.error.low == 0 and found.error.high > 0.1


@pytest.mark.parametrize("off", [0.0, 0.05, 0.15])
@pytest.mark.parametrize("n", [60, 240, 2000])
def test_the_interval_of_the_error_holds_the_truth_95_times_in_100_or_oftener(n: int, off: float) -> None:
    draw, sets, held, chance, seen = np.random.default_rng(4), 300, 0, 0.0, 0.0
    for seed in range(sets):
        confidence = 0.4 + 0.6 * draw.beta(5, 1.2, n)
        right = (draw.random(n) < confidence - off).astype(np.float64)
        found = reliability_of(confidence, right, seed=seed)
        held += found.error.low <= off <= found.error.high  # the same gap in every bin: the error is `off`
        chance, seen = chance + found.by_chance / sets, seen + found.error.value / sets
    assert held / sets >= 0.93
    assert off or chance == pytest.approx(seen, rel=0.25)  # what perfect probabilities show


def test_a_hundred_thousand_rows_are_no_trouble_and_narrow() -> None:
    draw = np.random.default_rng(1)
    confidence = draw.uniform(0.3, 1, 100_000)
    found = reliability_of(confidence, (draw.random(100_000) < confidence - 0.1).astype(np.float64))
    assert 0.09 < found.error.low < found.error.high < 0.11
