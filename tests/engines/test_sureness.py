"""Two answers agree wholly only where they are the same answer."""

from __future__ import annotations

import pytest

from smallworks.engines.sureness import ALMOST, agreement

DEEP = "[" * 100_000


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ('{"from": "Paris", "to": "Rome"}', '{"from": "Rome", "to": "Paris"}'),
        ('{"a": 1}', '{"a": true}'),
        ('{"a": -1}', '{"a": 1}'),
        ("the dog bit the man", "the man bit the dog"),
    ],
)
def test_the_same_words_are_not_the_same_answer(one: str, other: str) -> None:
    assert 0 < agreement(one, other) <= ALMOST < 1


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ('{"a": 1, "b": "x"}', '{"b":"x","a":1}'),
        ("The dog bit the man.", "the dog bit the man"),
        (DEEP, DEEP),
        ("", ""),
    ],
)
def test_the_same_answer_in_another_form_is_one(one: str, other: str) -> None:
    assert agreement(one, other) == 1.0


def test_what_has_nothing_in_common_does_not_agree() -> None:
    assert agreement("yes", "no") == 0.0 == agreement("!", "?")
    assert agreement("a b", "a c") == 0.5
    assert agreement(f"{DEEP} a", f"{DEEP} b") == 0.0
