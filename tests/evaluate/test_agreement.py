"""Agreement against published worked examples and scikit-learn."""

from __future__ import annotations

import random

import numpy as np
import pytest

from smallworks.evaluate.agreement import Measure, agreement, alpha, kappa

OBSERVERS = {
    "A": "1 2 3 3 2 1 4 1 2 . . .",
    "B": "1 2 3 3 2 2 4 1 2 5 . 3",
    "C": ". 3 3 3 2 3 4 2 2 5 1 .",
    "D": "1 2 3 3 2 4 4 1 2 5 1 .",
}
"""Krippendorff 2011, example C: four observers, twelve units, missing values."""


def ratings() -> dict[str, dict[str, float]]:
    return {
        name: {str(at): float(value) for at, value in enumerate(row.split()) if value != "."}
        for name, row in OBSERVERS.items()
    }


@pytest.mark.parametrize(
    ("measure", "published"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)]
)
def test_alpha_is_krippendorffs_published_one(measure: Measure, published: float) -> None:
    found = agreement(ratings(), measure=measure)
    assert found.alpha == pytest.approx(published, abs=5e-4)
    assert found.low is not None and found.high is not None and found.low < found.alpha < found.high <= 1
    assert found.things == 11  # the twelfth was judged by one observer alone


def test_alpha_of_two_observers_is_the_published_one() -> None:
    """Krippendorff 2011, example A: binary data, ten units, two observers."""
    a, b = [0, 1, 0, 0, 0, 0, 0, 0, 1, 0], [1, 1, 1, 0, 0, 1, 0, 0, 0, 0]
    assert alpha(list(zip(a, b, strict=True))) == pytest.approx(0.095, abs=5e-4)


def test_kappa_is_cohens_published_one() -> None:
    """Two readers of 50 grant proposals, the usual example: 20 yes/yes, 5 yes/no, 10 no/yes, 15 no/no."""
    counts = {(1, 1): 20, (1, 0): 5, (0, 1): 10, (0, 0): 15}
    pairs = [pair for pair, times in counts.items() for _ in range(times)]
    assert kappa([a for a, _ in pairs], [b for _, b in pairs]) == pytest.approx(0.4)


@pytest.mark.parametrize("seed", range(5))
def test_kappa_agrees_with_scikit_learn(seed: int) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    draw = random.Random(seed)
    a = [draw.randrange(4) for _ in range(60)]
    b = [x if draw.random() < 0.6 else draw.randrange(4) for x in a]
    assert kappa(a, b) == pytest.approx(metrics.cohen_kappa_score(a, b), abs=1e-12)


def test_nothing_to_compare_gives_no_figure() -> None:
    assert kappa([], []) is None and kappa([1, 1], [1, 1]) is None
    assert alpha([]) is None and alpha([[1, 1], [1, 1]]) is None
    found = agreement({"A": {"x": 1.0}, "B": {"y": 1.0}})
    assert (found.alpha, found.low, found.things, found.kappa) == (None, None, 0, {"A, B": None})


def test_full_agreement_is_1_and_guessing_is_about_0() -> None:
    full = agreement({name: {str(n): float(n % 3) for n in range(30)} for name in "AB"})
    assert (full.alpha, full.kappa["A, B"]) == (1.0, 1.0) and full.low is None
    draw = np.random.default_rng(1)
    guessed = agreement({name: {str(n): float(draw.integers(3)) for n in range(200)} for name in "ABC"})
    assert guessed.alpha is not None and guessed.low is not None and guessed.high is not None
    assert guessed.low < 0 < guessed.high and guessed.high - guessed.low < 0.25
