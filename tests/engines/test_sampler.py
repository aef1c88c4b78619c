"""Draws from logits: greedy, by seed, narrowed by top-p and by what is allowed."""

from __future__ import annotations

import numpy as np
import pytest

from smallworks.engines.sampler import Sampler
from smallworks.types import Sampling

LOGITS = np.log(np.array([0.1, 0.6, 0.05, 0.25]))


def draws(sampling: Sampling, allowed: np.ndarray | None = None, count: int = 4000) -> np.ndarray:
    sampler = Sampler(sampling)
    return np.bincount([sampler.draw(LOGITS, allowed) for _ in range(count)], minlength=4) / count


def test_without_temperature_the_likeliest_allowed_token_comes() -> None:
    assert Sampler(Sampling()).draw(LOGITS) == 1
    assert Sampler(Sampling()).draw(LOGITS, np.array([True, False, True, True])) == 3


def test_draws_follow_the_distribution() -> None:
    assert draws(Sampling(temperature=1.0, seed=1)) == pytest.approx(np.exp(LOGITS), abs=0.03)


def test_temperature_flattens_it() -> None:
    flat = np.exp(LOGITS / 2) / np.exp(LOGITS / 2).sum()
    assert draws(Sampling(temperature=2.0, seed=1)) == pytest.approx(flat, abs=0.03)


def test_top_p_keeps_the_first_tokens_that_reach_it() -> None:
    shares = draws(Sampling(temperature=1.0, top_p=0.7, seed=2))
    assert shares == pytest.approx([0, 0.6 / 0.85, 0, 0.25 / 0.85], abs=0.03)


@pytest.mark.parametrize("top_p", [0.0, 0.3])
def test_the_likeliest_token_stays_however_small_top_p_is(top_p: float) -> None:
    assert draws(Sampling(temperature=1.0, top_p=top_p, seed=2), count=20)[1] == 1


def test_what_is_not_allowed_never_comes() -> None:
    shares = draws(Sampling(temperature=3.0, seed=3), np.array([True, False, True, False]))
    assert shares[1] == shares[3] == 0 and shares[0] > shares[2] > 0


def test_the_logits_are_left_as_they_were() -> None:
    before = LOGITS.copy()
    Sampler(Sampling(temperature=1.0)).draw(LOGITS, np.array([True, False, True, True]))
    assert (before == LOGITS).all()
