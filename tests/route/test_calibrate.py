"""The chosen thresholds keep their promise over fresh draws, and too few rows promise nothing."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smallworks.route import Limits, Stage, calibrate, parse
from smallworks.route.calibrate import describe
from smallworks.route.mixes import mix


def world(rows: int, seed: int) -> tuple[Stage, Stage]:
    """A cheap stage that knows how sure it may be, and a dear one that is better on what is hard for it."""
    rng = np.random.default_rng(seed)
    ease = rng.normal(size=rows)
    cheap, dear = (1 / (1 + np.exp(-(shift + slope * ease))) for shift, slope in ((1.0, 2.0), (2.0, 1.2)))
    first, second = ((rng.random(rows) < sure).astype(float) for sure in (cheap, dear))
    return (
        Stage(name="cheap", confidence=cheap, score=first, cost=1.0, ms=1.0),
        Stage(name="dear", confidence=np.ones(rows), score=second, cost=10.0, ms=10.0),
    )


def broken(promise: str, rows: int, confidence: float, stages: int, draws: int) -> tuple[int, int]:
    """Of so many calibrations: how many chose something, and how many of those break their promise."""
    known = deepened(world(200_000, 10_000), stages)
    chosen = wrong = 0
    for seed in range(draws):
        found = calibrate(deepened(world(rows, seed), stages), parse(promise, confidence)).chosen
        if found is None:
            continue
        truth = mix(known, found.thresholds)
        chosen += 1
        asked = parse(promise)
        kept = -truth.difference <= asked.value if asked.against == "last" else truth.quality >= asked.value
        wrong += not kept
    return chosen, wrong


def deepened(two: tuple[Stage, Stage], stages: int) -> tuple[Stage, ...]:
    """The same world with a middle stage that is wrongly sure of itself."""
    cheap, dear = two
    if stages == 2:
        return two
    middle = replace(cheap, name="middle", confidence=cheap.confidence**0.5, cost=3.0)
    return cheap, middle, dear


@pytest.mark.parametrize(
    ("promise", "rows", "stages", "draws"),
    [("3 points", 500, 2, 80), ("3 points", 500, 3, 30), ("at least 0.8", 400, 2, 60)],
)
def test_the_promise_holds_as_often_as_it_says(promise: str, rows: int, stages: int, draws: int) -> None:
    confidence, luck = 0.9, 0.1
    chosen, wrong = broken(promise, rows, confidence, stages, draws)
    assert chosen > draws / 2
    assert wrong <= draws * luck + 2 * math.sqrt(draws * luck * confidence)


def test_enough_rows_save_most_of_the_cost() -> None:
    found = calibrate(world(5000, 1), parse("2 points"))
    assert found.chosen and found.chosen.promised and found.chosen.cost < 0.8 * found.last.cost
    assert "hands" in found.why and "cheap answers from" in describe(found)
    assert found.chosen.quality > found.last.quality - 0.02


def test_too_few_rows_promise_nothing_and_say_how_many_would() -> None:
    found = calibrate(world(150, 2), parse("3 points"))
    assert found.chosen is None and describe(found) == "nothing chosen"
    assert found.rows_needed and found.rows_least and found.rows_needed >= found.rows_least > 99
    assert f"{found.rows_needed:,} rows would show it" in found.why


def test_about_as_many_rows_as_it_said_are_enough() -> None:
    needed = calibrate(world(150, 2), parse("3 points")).rows_needed
    assert needed and calibrate(world(2 * needed, 4), parse("3 points")).chosen


def test_rows_in_groups_count_for_less() -> None:
    stages, promise = world(3000, 1), parse("2 points")
    alone, grouped = calibrate(stages, promise), calibrate(stages, promise, design=4.0)
    assert alone.chosen and (grouped.chosen is None or grouped.chosen.cost > alone.chosen.cost)
    assert "tell as much as 750 alone" in grouped.why


def test_limits_on_cost_and_time_are_kept() -> None:
    stages, promise = world(5000, 1), parse("2 points")
    assert calibrate(stages, promise, limits=Limits(p95_ms=5)).chosen is None
    free = calibrate(stages, promise).chosen
    assert free and calibrate(stages, promise, limits=Limits(cost=free.cost)).chosen == free
    tight = calibrate(stages, promise, limits=Limits(cost=0.9 * free.cost))
    assert tight.chosen is None and "limits" in tight.why


def test_a_cheaper_last_stage_needs_no_cascade() -> None:
    cheap, dear = world(3000, 1)
    found = calibrate((cheap, replace(dear, cost=0.1)), parse("1 point"))
    assert found.chosen is None and "no mix costs less" in found.why


def test_more_luck_is_spent_on_more_paths() -> None:
    cheap, dear = world(700, 2)
    two = calibrate((cheap, dear), parse("2 points"))
    four = calibrate((cheap, replace(cheap, name="b"), replace(cheap, name="c"), dear), parse("2 points"))
    assert two.rows_least and four.rows_least and four.rows_least > two.rows_least


def test_rows_that_chose_the_cascade_too_promise_less() -> None:
    stages, promise = world(500, 1), parse("3 points")
    one, three = calibrate(stages, promise), calibrate(stages, promise, choices=3)
    assert one.rows_least and three.rows_least and three.rows_least > one.rows_least
    held = [[mix.thresholds for mix in found.mixes if mix.promised] for found in (one, three)]
    assert held[1] == held[0][: len(held[1])] and len(held[1]) < len(held[0])


@settings(max_examples=15)
@given(st.integers(5, 200), st.integers(0, 1000))
def test_a_promised_mix_always_seems_to_keep_it(rows: int, seed: int) -> None:
    found = calibrate(world(rows, seed), parse("20 points"))
    assert all(-one.difference < 0.2 for one in found.mixes if one.promised)
    held = [one.promised for one in found.mixes[:-1]]
    assert held == sorted(held, reverse=True)
    assert all(np.isclose(sum(one.shares), 1) for one in found.mixes)


def test_a_cheap_stage_that_is_enough_is_seen_on_few_rows() -> None:
    cheap, dear = world(150, 5)
    found = calibrate(
        (replace(dear, name="good", cost=1.0), replace(cheap, name="poor", cost=9.0)), parse("1 point")
    )
    assert found.chosen and found.chosen.escalated == 0 and found.chosen.promised


def scored(rows: int, seed: int) -> tuple[Stage, Stage]:
    """A world of scores: right, or somewhere between; the dear stage is the better one on average."""
    stages, rng = world(rows, seed), np.random.default_rng(seed + 1)
    return tuple(  # type: ignore[return-value]
        replace(one, score=np.where(one.score > 0, 1.0, rng.beta(1.5, 2.0, rows))) for one in stages
    )


@pytest.mark.parametrize(("promise", "rows"), [("2 points", 500), ("at least 0.86", 400)])
def test_the_promise_holds_for_scores_too(promise: str, rows: int) -> None:
    known, asked, draws = scored(200_000, 10_000), parse(promise, 0.9), 30
    chosen = [calibrate(scored(rows, seed), asked).chosen for seed in range(draws)]
    truths = [mix(known, one.thresholds) for one in chosen if one]
    assert len(truths) > draws / 2 and all(one.spread for one in truths)
    kept = [-t.difference <= 0.02 if asked.against == "last" else t.quality >= 0.86 for t in truths]
    assert kept.count(False) <= draws * 0.1 + 2 * math.sqrt(draws * 0.09)


def test_scores_say_how_many_rows_would_show_it() -> None:
    found = calibrate(scored(120, 2), parse("2 points"))
    assert found.chosen is None and found.rows_needed and found.rows_least
    assert found.rows_needed >= found.rows_least > 120 and "rows would show it" in found.why
    assert "scores" in calibrate(scored(2000, 2), parse("2 points")).why
