"""Patterns that are too large for one set are looked for one by one; what is too large at all is told so."""

from __future__ import annotations

import pytest

from smallworks.errors import UserError
from smallworks.guard import finder
from smallworks.guard.rule import Patterns, Rule, Words

WORDS = Words(words=tuple(f"word{number}" for number in range(500)))


def rules(repeats: int) -> list[Rule]:
    """Ten patterns, each of as many letters at most, and a long list."""
    patterns = Patterns(patterns=tuple(rf"k{n}\p{{L}}{{1,{repeats}}}z" for n in range(10)))
    return [Rule(name="k", looks=patterns, action="mask"), Rule(name="w", looks=WORDS, action="mask")]


@pytest.mark.parametrize(("mebibytes", "apart"), [(2, True), (64, False)])
def test_patterns_too_large_for_one_set_are_found_all_the_same(
    mebibytes: int, apart: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finder, "MEMORY", mebibytes * 2**20)
    made = finder.Finder(rules(4))
    assert (made._each is None) == apart
    text = "é word499, k0az k9bcz word5000"
    found = sorted((hit.rule, text[hit.start : hit.end]) for hit in made.hits(text))
    assert found == [(0, "k0az"), (0, "k9bcz"), (1, "word499")]


def test_what_is_too_large_at_all_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finder, "MEMORY", 2**21)
    with pytest.raises(UserError, match="too large together"):
        finder.Finder(rules(10))
