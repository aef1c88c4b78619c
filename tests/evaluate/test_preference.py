"""Judgements as one comparison: rows are the draws, however many people judged each."""

from __future__ import annotations

import numpy as np
import pytest

from smallworks.errors import DataError
from smallworks.evaluate.preference import preferred, scored, win_rate


def test_wins_ties_and_the_sign_test() -> None:
    choices = {"anna": {"r1": 1.0, "r2": 1.0, "r3": -1.0, "r4": 0.0}}
    found = preferred(choices)
    assert (found.a.value, found.b.value, found.difference.value) == (0.25, 0.5, 0.25)
    assert (found.only_a, found.only_b, found.p_value) == (1, 2, 1.0)
    assert win_rate(found).value == 0.625


def test_ten_raters_of_one_row_are_one_draw() -> None:
    many = preferred({f"rater {n}": {f"r{row}": 1.0 for row in range(5)} for n in range(10)})
    once = preferred({"rater": {f"r{row}": 1.0 for row in range(5)}})
    assert (many.difference.low, many.difference.n, many.only_b) == (once.difference.low, 5, 5)


def test_scores_are_compared_in_points_on_rows_that_have_both() -> None:
    a = {"anna": {"r1": 3.0, "r2": 2.0, "r3": 5.0}, "ben": {"r1": 4.0}}
    b = {"anna": {"r1": 5.0, "r2": 2.0}, "ben": {"r1": 4.0}}
    found = scored(a, b, scale=5)
    assert (found.a.value, found.b.value) == (pytest.approx(2.75), pytest.approx(3.25))
    assert found.difference.value == pytest.approx(0.5) and found.difference.n == 2
    assert (found.only_a, found.only_b) == (0, 1)


def test_nothing_judged_is_refused() -> None:
    with pytest.raises(DataError, match="No row was judged"):
        preferred({})
    with pytest.raises(DataError, match="No row has a score of both"):
        scored({"anna": {"r1": 1.0}}, {"anna": {"r2": 1.0}}, scale=5)


def test_the_interval_holds_the_true_preference() -> None:
    """150 simulated studies of 60 rows and two raters who agree often; the truth is 0.2."""
    draw, covered = np.random.default_rng(4), 0
    for _ in range(150):
        first = draw.choice([-1.0, 0.0, 1.0], size=60, p=[0.3, 0.2, 0.5])
        second = np.where(draw.random(60) < 0.6, first, draw.choice([-1.0, 0.0, 1.0], 60, p=[0.3, 0.2, 0.5]))
        raters = {
            name: {str(at): float(x) for at, x in enumerate(by)} for name, by in (("a", first), ("b", second))
        }
        ends = preferred(raters).difference
        covered += ends.low <= 0.2 <= ends.high
    assert 0.90 <= covered / 150 <= 0.985
