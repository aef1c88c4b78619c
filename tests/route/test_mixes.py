"""Every row is answered once, by the first stage that is sure enough; the sums follow."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smallworks.route import Stage
from smallworks.route.mixes import GRID, answered_by, mix, oracle, paths
from smallworks.route.stages import Gate


def stage(name: str, confidence: list[float], right: list[int], cost: float) -> Stage:
    return Stage(
        name=name, confidence=np.array(confidence), score=np.array(right, float), cost=cost, ms=10 * cost
    )


THREE = (
    stage("a", [0.9, 0.6, 0.5, 0.4], [1, 0, 0, 0], 1),
    stage("b", [0.9, 0.9, 0.3, 0.3], [1, 1, 0, 1], 2),
    stage("c", [1.0, 1.0, 1.0, 1.0], [1, 0, 1, 1], 4),
)


def test_each_row_goes_to_the_first_stage_that_is_sure_enough() -> None:
    assert answered_by(THREE, (0.8, 0.8)).tolist() == [0, 1, 2, 2]
    assert answered_by(THREE, (None, 0.8)).tolist() == [1, 1, 2, 2]
    assert answered_by(THREE, (0.0, None)).tolist() == [0, 0, 0, 0]


def test_a_mix_adds_up() -> None:
    one = mix(THREE, (0.8, 0.8))
    assert one.shares == (0.25, 0.25, 0.5) and one.quality == 1.0
    assert (one.losses, one.gains) == (0, 1) and one.difference == 0.25
    assert one.cost == pytest.approx(0.25 * 1 + 0.25 * 3 + 0.5 * 7) and one.p95_ms == 70
    assert one.interval == pytest.approx((0.3976, 1.0), abs=1e-4)


def test_behind_a_gate_rows_that_look_hard_pay_the_gate_and_the_last_stage_alone() -> None:
    gate = Gate(skips=np.array([True, False, False, False]), cost=0.5, ms=1.0)
    gated = (replace(THREE[0], gate=gate), *THREE[1:])
    assert answered_by(gated, (0.8, 0.8)).tolist() == [2, 1, 2, 2]
    one = mix(gated, (0.8, 0.8))
    assert one.cost == pytest.approx(0.5 + (4 + 3 + 7 + 7) / 4) and one.p95_ms == 71


def test_a_stage_that_takes_no_part_is_not_paid() -> None:
    assert mix(THREE, (None, None)).cost == 4 and mix(THREE, (None, 0.0)).cost == 2


def test_the_oracle_takes_the_cheapest_that_is_right() -> None:
    best = oracle(THREE)
    assert best.shares == (0.25, 0.5, 0.25) and best.quality == 1.0
    assert best.cost == pytest.approx(0.25 * 1 + 0.5 * 2 + 0.25 * 4)


def test_paths_are_all_choices_of_stages_before_the_last() -> None:
    assert list(paths(2)) == [(0,)] and len(list(paths(4))) == 7


def test_the_grid_falls_from_sure_to_anything() -> None:
    assert list(GRID) == sorted(set(GRID), reverse=True) and GRID[-1] == 0.0


@given(st.integers(1, 60), st.integers(0, 10_000), st.sampled_from(GRID), st.sampled_from(GRID))
def test_shares_add_up_and_no_mix_beats_the_oracle(rows: int, seed: int, first: float, second: float) -> None:
    rng = np.random.default_rng(seed)
    stages = [
        stage(name, rng.random(rows).tolist(), rng.integers(0, 2, rows).tolist(), cost)
        for name, cost in (("a", 1.0), ("b", 2.0), ("c", 5.0))
    ]
    one = mix(stages, (first, second))
    assert sum(one.shares) == pytest.approx(1) and 1 <= one.cost <= 8
    assert one.quality <= oracle(stages).quality
    assert one.interval[0] <= one.quality <= one.interval[1]
