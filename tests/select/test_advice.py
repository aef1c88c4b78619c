"""Whether a small model is right, as a table of cases: the thresholds are those of the documentation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from smallworks.select import Needs
from smallworks.select.advice import advise
from smallworks.types import Estimate


def scored(low: float, high: float) -> Estimate:
    return Estimate(value=(low + high) / 2, low=low, high=high, n=100)


@pytest.mark.parametrize(
    ("needs", "route", "because"),
    [
        ({"rows": 900, "labels": 30}, "linear", "30 each) are enough for one"),
        ({"rows": 899, "labels": 30}, "encoder", "few for words alone"),
        ({"rows": 149, "labels": 30}, "language model", "too few for a linear model or an encoder"),
        ({"rows": 30_000, "labels": 201}, "encoder", "201 labels"),
        ({"target": 0.9, "linear": scored(0.91, 0.95)}, "linear", "the target is 0.9"),
        ({"target": 0.9, "linear": scored(0.7, 0.8)}, "encoder", "short of the target 0.9"),
        ({"target": 0.9, "linear": scored(0.7, 0.8), "rows": 100}, "language model", "short of the target"),
        ({"target": 0.9, "linear": scored(0.85, 0.95), "rows": 900}, "linear", "scores 0.900 [0.850, 0.950]"),
        ({"rows": 19, "labels": 2}, "flagship", "fewer than the 20 that 'classify' needs"),
        ({"volume": 99}, "flagship", "99 requests a day are fewer"),
        ({"volume": 100}, "encoder", "30 labels"),
        ({"volume": 1000, "flagship": 0.0001}, "flagship", "cost $3.00 a month"),
        ({"volume": 50, "flagship": 0.01}, "encoder", "30 labels"),
        ({"kind": "extract", "rows": 60}, "language model", "'extract' writes text"),
        ({"kind": "extract", "rows": 49}, "flagship", "fewer than the 50"),
        ({"kind": "generate", "rows": 900, "tokens_out": 301}, "flagship", "open-ended"),
        ({"kind": "generate", "rows": 900, "tokens_out": 300}, "language model", "'generate' writes text"),
    ],
)
def test_each_case_has_its_route_and_reason(
    needs_of: Callable[..., Needs], needs: dict[str, Any], route: str, because: str
) -> None:
    advice = advise(needs_of(**needs), fitting=1)
    assert advice.route == route
    assert because in "; ".join(advice.reasons)
    assert advice.warnings == ()


def test_private_data_never_go_to_the_flagship(needs_of: Callable[..., Needs]) -> None:
    advice = advise(needs_of(rows=10, labels=2, volume=5, private=True), fitting=1)
    assert advice.route == "encoder"
    assert len(advice.warnings) == 2 and all("were the data not private" in w for w in advice.warnings)


def test_where_no_language_model_fits_what_writes_text_stays_with_the_flagship(
    needs_of: Callable[..., Needs],
) -> None:
    assert advise(needs_of(kind="answer", rows=500), fitting=0).route == "flagship"
    assert advise(needs_of(rows=900), fitting=0).route == "linear"
