"""The calibration error by hand and by simulation."""

from collections.abc import Callable

import numpy as np
import pytest

from smallworks.evaluate.calibration import calibration_error, ece
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
    sure = make("classify", [("bug", "bug")], probabilities=[{"bug": 0.9, "feature": 0.1}])
    assert calibration_error(sure) == pytest.approx(0.1)
