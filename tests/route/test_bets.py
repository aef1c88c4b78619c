"""Bets win where a mean is above nothing, and hardly ever where it is not, in groups or alone."""

import numpy as np
import pytest

from smallworks.route import bets


def drawn(mean: float, rows: int, seed: int) -> np.ndarray:
    """Skewed numbers from −0.9 to 0.1 above or below that mean: many small gains, a few large losses."""
    rng = np.random.default_rng(seed)
    lost = rng.random(rows) < (0.1 - mean)
    return np.where(lost, -0.9, 0.1)


@pytest.mark.parametrize("rows", [50, 400])
def test_a_mean_of_nothing_is_hardly_ever_taken_for_more(rows: int) -> None:
    luck, draws = 0.1, 200
    wrong = sum(bets.shows(drawn(0.0, rows, seed), most_lost=0.9, luck=luck) for seed in range(draws))
    assert wrong <= draws * luck + 2 * (draws * luck * (1 - luck)) ** 0.5


def test_rows_that_go_in_groups_count_as_fewer() -> None:
    luck, draws, size = 0.1, 150, 5
    groups = [np.repeat(drawn(0.0, 80, seed), size) for seed in range(draws)]
    wrong = sum(bets.shows(one, most_lost=0.9, luck=luck, design=size) for one in groups)
    assert wrong <= draws * luck + 2 * (draws * luck * (1 - luck)) ** 0.5
    sure = np.repeat(drawn(0.05, 120, 1), size)
    assert bets.shows(sure, most_lost=0.9, luck=luck) and not bets.shows(
        sure[: 30 * size], most_lost=0.9, luck=0.001, design=size
    )


def test_enough_rows_show_it_however_they_are_sorted() -> None:
    rows = drawn(0.05, 600, 3)
    assert bets.shows(rows, most_lost=0.9, luck=0.05)
    bad = np.sort(drawn(-0.02, 600, 3))[::-1]
    assert not bets.shows(bad, most_lost=0.9, luck=0.05)


def test_about_so_many_rows_as_it_says_are_enough() -> None:
    few = drawn(0.05, 60, 4)
    needed = bets.rows_for(few, most_lost=0.9, luck=0.05, most=100_000, growth=1.02)
    assert needed and bets.shows(np.resize(few, 2 * needed), most_lost=0.9, luck=0.05)
    assert not bets.shows(few[: needed // 4], most_lost=0.9, luck=0.05)
    assert bets.rows_for(-few, most_lost=0.9, luck=0.05, most=1000, growth=1.02) is None


@pytest.mark.parametrize(("mean", "most"), [(1e-4, 1_000_000), (1e-9, 1_000_000)])
def test_many_rows_are_counted_in_few_looks(mean: float, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = list[int]()

    def counted(rows: np.ndarray, *how: float) -> float:
        looks.append(len(rows))
        return wealth(rows, *how)

    wealth = bets._wealth
    monkeypatch.setattr(bets, "_wealth", counted)
    found = bets.rows_for(np.full(1, mean), most_lost=1.0, luck=0.05, most=most, growth=1.02)
    assert (found is None) == (mean < 1e-6) and sum(looks) < 12 * (found or most)
