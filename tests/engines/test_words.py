"""Words with their places, and what is seen of each."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from smallworks.engines.words import features, words


@given(st.text(max_size=60))
def test_words_stand_where_they_say(text: str) -> None:
    found = words(text)
    assert all(text[word.start : word.end] == word.text for word in found)
    assert "".join(word.text for word in found) == "".join(text.split())
    assert len(features(found)) == len(found)


def test_signs_are_words_of_their_own() -> None:
    assert [word.text for word in words("Ann's €3.50, thanks")] == [
        "Ann", "'", "s", "€", "3", ".", "50", ",", "thanks",
    ]  # fmt: skip


def test_a_word_is_seen_with_its_place_its_shape_and_what_stands_near() -> None:
    seen = features(words("Fly to McLean at 10"))
    assert {"0:mclean", "-1:to", "1:at", "0shape:Aa", "1shape:a", "0head:mcl", "0tail:ean"} <= set(seen[2])
    assert {"near:fly", "near:10", "-1+:to mclean", "3:<>"} <= set(seen[2])
    assert "0shape:99" in seen[4] and "-1shape:a" not in seen[0]
