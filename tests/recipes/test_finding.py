"""Passages are found in the way that holds the most of the answers with the least to read."""

from __future__ import annotations

from dataclasses import replace

import pytest

from smallworks.recipes.finding import Setting, pick, with_reranker


def test_the_least_to_read_of_those_that_hold_as_much() -> None:
    tried = [
        Setting(size=400, by="words", k=1, held=0.80),
        Setting(size=400, by="words", k=5, held=0.97),
        Setting(size=800, by="words", k=3, held=0.98),
        Setting(size=400, by="both", k=8, held=0.95),
    ]
    assert pick(tried) == tried[1]


def test_equal_lengths_are_told_apart_by_the_order_then_by_what_needs_no_embedder() -> None:
    words = Setting(size=400, by="words", k=3, held=1.0, ndcg=0.8)
    both = Setting(size=400, by="both", k=3, held=1.0, ndcg=0.9)
    assert pick([words, both]) == both
    even = Setting(size=400, by="both", k=3, held=1.0, ndcg=0.8)
    assert pick([even, words]) == words


@pytest.mark.parametrize(
    ("reranked", "taken"),
    [
        ([1.0] * 18 + [0.0] * 2, True),  # 0.6 → 0.9 on the same rows
        ([1.0] * 12 + [1.0] + [0.0] * 7, False),  # one row more shows nothing
        ([1.0] * 12 + [0.0] * 8, False),
        ([0.0] * 20, False),
    ],
)
def test_a_reranker_is_taken_where_its_gain_is_shown(reranked: list[float], taken: bool) -> None:
    one = Setting(size=400, by="words", k=1, held=0.6)
    five = replace(one, k=5, held=0.91)
    tried = {one: [1.0] * 12 + [0.0] * 8, five: [0.91] * 20}
    second = replace(one, reranked=True, held=sum(reranked) / 20)
    again = {second: reranked, replace(five, reranked=True): [0.91] * 20}
    assert with_reranker(five, tried, again) == (second if taken else five)
