"""B against A on the same rows."""

import random
import time
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smallworks.errors import DataError
from smallworks.evaluate.compare import compare, mcnemar
from smallworks.types import ExampleId, Record

Make = Callable[..., list[Record]]

LABELS = ("bug", "feature", "question")


@settings(deadline=None)
@given(st.integers(0, 300), st.integers(0, 300))
def test_mcnemar_agrees_with_scipys_binomial_test(only_a: int, only_b: int) -> None:
    stats = pytest.importorskip("scipy.stats")
    oracle = stats.binomtest(only_a, only_a + only_b).pvalue if only_a + only_b else 1.0
    assert mcnemar(only_a, only_b) == pytest.approx(oracle, abs=1e-9)


def test_disagreements_decide_whatever_the_order_of_rows(make: Make) -> None:
    a = make("classify", [("bug", "bug")] * 10 + [("bug", "feature")] * 10)
    b = make("classify", [("bug", "bug")] * 8 + [("bug", "feature")] * 2 + [("bug", "bug")] * 10)
    found = compare(a, b[::-1], "accuracy", kind="classify")
    assert (found.only_a, found.only_b, found.test) == (2, 10, "exact McNemar")
    assert found.p_value == pytest.approx(mcnemar(2, 10))
    assert (found.a.value, found.b.value, found.difference.value) == (0.5, 0.9, 0.4)
    assert found.difference.low > 0


def test_other_metrics_are_compared_by_the_paired_bootstrap(make: Make) -> None:
    draw = random.Random(0)
    due = [draw.choice(LABELS) for _ in range(300)]
    a, b = (
        make("classify", [(d, d if draw.random() < p else draw.choice(LABELS)) for d in due])
        for p in (0.6, 0.9)
    )
    found = compare(a, b, "macro_f1", kind="classify")
    assert found.test == "paired bootstrap"
    assert found.p_value < 0.01
    assert 0 < found.difference.low < found.difference.value < found.difference.high
    assert found.difference.value == pytest.approx(found.b.value - found.a.value)
    assert found == compare(a, b, "macro_f1", kind="classify")


def test_pairing_sees_what_two_intervals_hide(make: Make) -> None:
    draw = random.Random(1)
    due = ["one two three four"] * 200
    said_a = [" ".join(d.split()[: draw.randint(0, 3)]) for d in due]
    said_b = [f"{d.split()[len(s.split())]} {s}" for d, s in zip(due, said_a, strict=True)]
    a, b = (make("answer", list(zip(due, said, strict=True))) for said in (said_a, said_b))
    found = compare(a, b, "token_f1", kind="answer")
    width_a, width = found.a.high - found.a.low, found.difference.high - found.difference.low
    assert width < width_a / 2
    assert (found.only_a, found.only_b) == (0, 200)


def test_the_same_answers_do_not_differ(make: Make) -> None:
    a = make("answer", [("one two", "two"), ("one", "one"), ("x", "y")] * 5)
    found = compare(a, a, "token_f1", kind="answer")
    assert (found.difference.value, found.p_value) == (0.0, 1.0)
    assert found.difference.low < 0 < found.difference.high


def test_rows_that_are_missing_doubled_or_changed_are_named(make: Make) -> None:
    a = make("classify", [("bug", "bug")] * 5)
    with pytest.raises(DataError, match="B has no record of 2 of the rows that the other has: 'r3', 'r4'"):
        compare(a, a[:3], "accuracy", kind="classify")
    with pytest.raises(DataError, match="A has no record of 1"):
        compare(a[1:], a, "accuracy", kind="classify")
    with pytest.raises(DataError, match="A has row 'r0' more than once"):
        compare([*a, a[0]], a, "accuracy", kind="classify")
    with pytest.raises(DataError, match="'r0' expects 'bug' in A and 'feature' in B"):
        compare(a, [replace(a[0], expected="feature"), *a[1:]], "accuracy", kind="classify")
    with pytest.raises(DataError, match="B has no records"):
        compare(a, [], "accuracy", kind="classify")


@pytest.mark.slow
@pytest.mark.parametrize("metric", ["accuracy", "macro_f1"])
def test_thirty_thousand_rows_are_compared_in_time(metric: str, make: Make) -> None:
    draw = random.Random(0)
    due = draw.choices(LABELS, k=30_000)
    a, b = (
        make("classify", [(d, d if draw.random() < p else draw.choice(LABELS)) for d in due])
        for p in (0.9, 0.91)
    )
    start = time.process_time()
    found = compare(a, b, metric, kind="classify")
    assert time.process_time() - start < 15  # far below 1 measured: what this guards against is minutes
    assert found.p_value < 0.05


@pytest.mark.slow
def test_thirty_thousand_distinct_scores_are_compared_in_time(make: Make) -> None:
    draw = random.Random(0)
    row = make("answer", [("x", "x")])[0]
    a, b = (
        [
            replace(row, example_id=ExampleId(f"r{i}"), scores={"token_f1": draw.random()})
            for i in range(30_000)
        ]
        for _ in range(2)
    )
    start = time.process_time()
    found = compare(a, b, "token_f1", kind="answer")
    assert time.process_time() - start < 15  # far below 1 measured: what this guards against is minutes
    assert found.difference.high - found.difference.low == pytest.approx(0.0092, abs=0.0015)
