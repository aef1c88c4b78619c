"""Flipped answers and divergences: scipy's entropy is the oracle, and the order of rows does not matter."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smallworks.evaluate.drift import divergence, flipped, label_distributions
from smallworks.types import Record

Make = Callable[..., list[Record]]


@given(st.integers(0, 2**32 - 1))
def test_divergence_is_that_of_scipy(seed: int) -> None:
    stats = pytest.importorskip("scipy.stats")
    drawn = np.random.default_rng(seed).dirichlet([0.3] * 4, size=(2, 30))
    p, q = np.maximum(drawn, 1e-12) / np.maximum(drawn, 1e-12).sum(axis=-1, keepdims=True)
    oracle = stats.entropy(p, q, axis=1)
    found = divergence(p.tolist(), q.tolist())
    assert found.mean == pytest.approx(oracle.mean(), abs=1e-9)
    assert found.p99 == pytest.approx(oracle.max(), abs=1e-9) and found.rows == 30


def test_what_the_reference_rules_out_does_not_count_and_an_underflow_is_finite() -> None:
    assert divergence([[1.0, 0.0]], [[1.0, 0.0]]).mean == 0.0
    assert divergence([[1.0, 0.0]], [[0.5, 0.5]]).mean == pytest.approx(np.log(2))
    assert 60 < divergence([[1.0, 0.0]], [[0.0, 1.0]]).mean < 80


def test_an_answer_that_differs_is_a_flip_right_or_wrong(make: Make) -> None:
    reference = make("classify", [("bug", "bug"), ("bug", "feature"), ("bug", "feature"), ("bug", "bug")])
    other = make("classify", [("bug", "feature"), ("bug", "bug"), ("bug", "question"), ("bug", "bug")])
    share = flipped(reference, other[::-1])
    assert (share.value, share.n) == (0.75, 4) and share.low < 0.75 < share.high


def test_labels_and_rows_are_brought_into_one_order(make: Make) -> None:
    rows = make(
        "classify", [("bug", "bug")] * 2, probabilities=[{"bug": 0.9, "a": 0.1}, {"a": 0.3, "bug": 0.7}]
    )
    assert label_distributions(rows[::-1]) == [[0.1, 0.9], [0.3, 0.7]]
    assert label_distributions(make("classify", [("bug", "bug")])) is None
