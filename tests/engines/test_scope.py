"""Scores of scope mean what their papers say, and the threshold loses no more in scope than was allowed."""

from __future__ import annotations

import numpy as np
import pytest

from smallworks.engines.scope import auroc, fit, scores


def normal(mean: float, rows: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(mean, 1.0, rows)


def test_each_score_of_one_row() -> None:
    logits = np.array([[2.0, 1.0, -1.0]])
    temperature = 0.5
    p = np.exp(logits / temperature) / np.exp(logits / temperature).sum()
    found = scores(np.log(p), logits=logits, temperature=temperature)
    assert found["probability"] == pytest.approx(p[0, 0])
    assert found["margin"] == pytest.approx(p[0, 0] - p[0, 1])
    assert found["max_logit"] == pytest.approx(2.0)
    assert found["energy"] == pytest.approx(temperature * np.log(np.exp(logits / temperature).sum()))
    assert set(scores(np.log(p))) == {"probability", "margin"}


def test_auroc_is_the_share_of_pairs_in_order_and_a_tie_counts_half() -> None:
    inside, outside = np.array([3.0, 2.0, 2.0]), np.array([1.0, 2.0])
    pairs = [(a > b) + 0.5 * (a == b) for a in inside for b in outside]
    assert auroc(inside, outside) == pytest.approx(np.mean(pairs))


@pytest.mark.parametrize("loss", [0.02, 0.1])
def test_on_average_no_more_is_lost_in_scope_than_allowed(loss: float) -> None:
    lost = []
    for seed in range(200):
        found = fit({"probability": normal(0, 99, seed)}, {}, loss=loss)
        assert found.scope and found.scope.score == "probability" and "no row out of scope" in found.why
        lost.append((normal(0, 2000, 1000 + seed) < found.scope.at).mean())
    assert np.mean(lost) == pytest.approx(loss, abs=0.005)


def test_examples_choose_the_score_that_tells_them_apart() -> None:
    inside = {"probability": normal(0, 500, 0), "energy": normal(0, 500, 1)}
    outside = {"probability": normal(-0.5, 100, 2), "energy": normal(-3, 100, 3)}
    found = fit(inside, outside, loss=0.1, label="none")
    assert found.scope and (found.scope.score, found.scope.label) == ("energy", "none")
    assert found.auroc["energy"] > 0.95 > found.auroc["probability"]
    assert 0.005 < (inside["energy"] < found.scope.at).mean() <= 0.1


def test_what_can_be_told_without_loss_costs_none_of_what_is_allowed() -> None:
    found = fit({"probability": 5 + normal(0, 400, 0)}, {"probability": normal(-9, 50, 1)}, loss=0.2)
    assert found.scope and (5 + normal(0, 400, 0) < found.scope.at).sum() == 0


def test_a_score_that_tells_nothing_gives_no_threshold() -> None:
    found = fit({"probability": normal(0, 300, 0)}, {"probability": normal(3, 60, 1)}, loss=0.05)
    assert found.scope is None and "hands over more of the 60 rows" in found.why


def test_too_few_rows_give_no_threshold_and_say_how_many_it_takes() -> None:
    found = fit({"probability": normal(0, 48, 0)}, {}, loss=0.02)
    assert found.scope is None and "takes 49" in found.why
    assert fit({"probability": normal(0, 49, 0)}, {}, loss=0.02).scope


def test_a_handful_of_examples_chooses_nothing() -> None:
    rows = {"probability": normal(0, 100, 0), "energy": normal(0, 100, 1)}
    few = {"probability": normal(0, 5, 2), "energy": normal(-9, 5, 3)}
    found = fit(rows, few, loss=0.05)
    assert found.scope and found.scope.score == "probability" and "5 rows out of scope" in found.why
