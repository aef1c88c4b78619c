"""Several candidates on the same rows: Holm's stages, and how often a wrong one passes before and after."""

from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smallworks.evaluate.intervals import paired_difference, wilson
from smallworks.evaluate.together import holm, non_inferior_together, shown_together, targets_together
from smallworks.evaluate.verdict import (
    LUCK,
    against_target,
    chance_at_margin,
    chance_at_target,
    non_inferior,
)
from smallworks.types import Comparison, Estimate

CANDIDATES = 13


def comparison(only_a: int, only_b: int, n: int, metric: str = "accuracy") -> Comparison:
    return Comparison(
        metric=metric,
        a=wilson(n - only_b, n),
        b=wilson(n - only_a, n),
        difference=paired_difference(only_a, only_b, n),
        p_value=1.0,
        test="exact McNemar",
        only_a=only_a,
        only_b=only_b,
    )


def test_stages_fall_only_while_claims_hold() -> None:
    assert holm([0.02, 0.001, 0.9, 0.014]) == (2, 4, 1, 3)
    assert holm([0.04, 0.03]) == (2, 2)
    assert holm([0.05]) == (1,)
    assert holm([]) == ()


@given(st.lists(st.floats(0, 1), max_size=13))
def test_holm_holds_what_its_adjusted_p_values_say(chances: list[float]) -> None:
    order = np.argsort(chances, kind="stable")
    factors = np.arange(len(chances), 0, -1)
    adjusted = np.empty(len(chances))
    adjusted[order] = np.maximum.accumulate(factors * np.array(chances)[order])
    held = [p * stage <= LUCK for p, stage in zip(chances, holm(chances), strict=True)]
    assert held == list(adjusted <= LUCK)


@given(st.integers(0, 300), st.integers(1, 300), st.integers(1, 13), st.sampled_from([0.5, 0.8, 0.9]))
def test_the_verdict_of_one_among_several_agrees_with_its_p_value(
    hits: int, n: int, among: int, target: float
) -> None:
    estimate = wilson(min(hits, n), n)
    for metric in ("accuracy", "macro_f1"):
        chance = chance_at_target(estimate, target, metric=metric)
        passed = against_target(estimate, target, metric=metric, among=among).outcome == "pass"
        assert passed == (chance * among <= LUCK) or abs(chance * among - LUCK) < 1e-9


@given(st.integers(0, 60), st.integers(0, 60), st.integers(1, 13))
def test_the_verdict_on_one_difference_among_several_agrees_with_its_p_value(
    only_a: int, only_b: int, among: int
) -> None:
    for metric in ("accuracy", "macro_f1"):
        found = comparison(only_a, only_b, 300, metric)
        chance = chance_at_margin(found, 0.02)
        passed = non_inferior(found, 0.02, among=among).outcome == "pass"
        assert passed == (chance * among <= LUCK) or abs(chance * among - LUCK) < 1e-9


def test_one_alone_is_judged_as_ever() -> None:
    estimate = wilson(213, 240)
    assert targets_together([estimate], 0.85, metric="accuracy") == (
        against_target(estimate, 0.85, metric="accuracy"),
    )
    found = comparison(4, 4, 100)
    assert non_inferior_together([found], 0.02, a="a", names=["b"]) == (
        non_inferior(found, 0.02, a="a", b="b"),
    )


def test_a_narrow_pass_becomes_inconclusive_beside_others_and_says_so() -> None:
    narrow, poor = wilson(214, 240), wilson(120, 240)
    assert against_target(narrow, 0.85, metric="accuracy").outcome == "pass"
    verdicts = targets_together([narrow, *[poor] * 8], 0.85, metric="accuracy")
    assert [v.outcome for v in verdicts] == ["inconclusive", *["fail"] * 8]
    assert "is not shown yet as one of 9 tried; about " in verdicts[0].reason
    more = verdicts[0].rows_needed or 0
    settled = wilson(round(214 / 240 * (240 + more)) + 1, 240 + more)
    assert targets_together([settled, *[poor] * 8], 0.85, metric="accuracy")[0].outcome == "pass"


def test_what_is_shown_together_is_what_passes_together() -> None:
    estimates = [wilson(hits, 240) for hits in (230, 222, 214, 206, 120)]
    for target in (0.5, 0.8, 0.85, 0.9, 0.97):
        verdicts = targets_together(estimates, target, metric="accuracy")
        shown = shown_together(estimates, target, metric="accuracy")
        assert shown == tuple(v.outcome == "pass" for v in verdicts)


def drawn(rng: np.random.Generator, n: int, share: float, alike: float) -> np.ndarray:
    """Right or wrong [CANDIDATES, n], each right with chance `share`; `alike` 0–1 is how much they agree."""
    from scipy.stats import norm

    hard = rng.standard_normal(n)
    own = rng.standard_normal((CANDIDATES, n))
    return np.sqrt(alike) * hard + np.sqrt(1 - alike) * own < norm.ppf(share)


@pytest.mark.parametrize("alike", [0.0, 0.6])
def test_of_thirteen_just_short_of_the_target_one_passes_in_at_most_one_test_set_of_twenty(
    alike: float,
) -> None:
    pytest.importorskip("scipy")
    rng, n, target, sets = np.random.default_rng(5), 240, 0.85, 1500

    @cache
    def estimate(hits: int) -> Estimate:
        return wilson(hits, n)

    @cache
    def alone(hits: int) -> bool:
        return chance_at_target(estimate(hits), target, metric="accuracy") <= LUCK

    before = after = 0
    for _ in range(sets):
        hits = [int(h) for h in drawn(rng, n, target, alike).sum(axis=1)]
        before += any(alone(h) for h in hits)
        after += any(shown_together([estimate(h) for h in hits], target, metric="accuracy"))
    assert before / sets > 0.12  # what a choice among thirteen was wrong by without the correction
    assert after / sets <= LUCK + 2 * (LUCK * (1 - LUCK) / sets) ** 0.5


def test_of_twelve_just_worse_than_the_margin_one_passes_in_at_most_one_test_set_of_twenty() -> None:
    pytest.importorskip("scipy")
    rng, n, sets, margin = np.random.default_rng(6), 2000, 250, 0.02
    before = after = 0
    for _ in range(sets):
        best, *others = drawn(rng, n, 0.90, 0.6)
        spoiled = [other & (rng.random(n) >= margin / 0.90) for other in others]  # 0.88: the margin below
        found = [comparison(int((best & ~o).sum()), int((o & ~best).sum()), n) for o in spoiled]
        chances = [chance_at_margin(one, margin) for one in found]
        before += min(chances) <= LUCK
        after += any(p * stage <= LUCK for p, stage in zip(chances, holm(chances), strict=True))
    assert before / sets > 0.12
    assert after / sets <= LUCK + 2 * (LUCK * (1 - LUCK) / sets) ** 0.5
