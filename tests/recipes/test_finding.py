"""Passages are found in the way that holds the most of the answers with the least to read."""

from __future__ import annotations

from smallworks.recipes.finding import Setting, pick


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
