"""Streamed pieces never split a character and join to the whole."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smallworks.prompt import Detokenizer, TextTokenizer

TEXTS = [
    "Hello world",
    " leading",
    "🦙🏽‍🌾 👩‍👩‍👧",
    "e\u0301 a\u0308\u0323",
    "我想在apple工作",
    "កាន់តែ",
    "a\ufffdb\ufffd",
    "\n\n  \t",
]


def pieces(tokenizer: TextTokenizer, ids: list[int]) -> list[str]:
    stream = Detokenizer(tokenizer)
    return [*(stream.push([id]) for id in ids), stream.flush()]


@pytest.mark.parametrize("text", TEXTS)
def test_pieces_join_to_the_text(tokenizer: TextTokenizer, text: str) -> None:
    parts = pieces(tokenizer, tokenizer.encode(text))
    assert "".join(parts) == text
    assert "\ufffd" in text or not any("\ufffd" in part for part in parts)


@given(st.text().filter(lambda text: "<|" not in text))  # special tokens are silent
def test_any_text_survives(tokenizer: TextTokenizer, text: str) -> None:
    assert "".join(pieces(tokenizer, tokenizer.encode(text))) == text


@given(st.lists(st.integers(0, 400), max_size=40))
def test_any_ids_join_to_their_decoding(tokenizer: TextTokenizer, ids: list[int]) -> None:
    assert "".join(pieces(tokenizer, ids)) == tokenizer.decode(ids)


@given(st.lists(st.one_of(st.integers(0, 300), st.integers(0, 32010)), max_size=40))
def test_ids_of_a_vocabulary_with_raw_bytes_join_too(phi: TextTokenizer, ids: list[int]) -> None:
    assert "".join(pieces(phi, ids)) == phi.decode(ids)


@pytest.mark.parametrize("text", TEXTS)
def test_a_vocabulary_with_raw_bytes_streams_whole_characters(phi: TextTokenizer, text: str) -> None:
    ids = phi.encode(text)
    parts = pieces(phi, ids)
    assert "".join(parts) == phi.decode(ids)
    assert "\ufffd" in text or not any("\ufffd" in part for part in parts)


def test_special_tokens_are_silent(tokenizer: TextTokenizer) -> None:
    assert pieces(tokenizer, [2, *tokenizer.encode("ab"), 2])[-2:] == ["", ""]


def test_an_unfinished_character_comes_out_at_the_end(tokenizer: TextTokenizer) -> None:
    first, *_ = tokenizer.encode("🦙")
    assert pieces(tokenizer, [first]) == ["", "\ufffd"]


@pytest.fixture(scope="session")
def phi(shared: Path) -> TextTokenizer:
    return TextTokenizer.load(shared / "tok-phi-3-mini")
