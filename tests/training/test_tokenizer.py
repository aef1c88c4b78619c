"""A word is cut alike wherever it stands, and every form of it is known to be one."""

from __future__ import annotations

import pytest
from tokenizers import Tokenizer
from training.starter import tokenizer as bpe

WORDS = ("scar", "scarf", "carpet", "pet", "question", "quest", "harbour", "bourbon", "linen", "line")


@pytest.fixture(scope="module")
def trained() -> Tokenizer:
    plain = [f'The {first} and the {second}: "{first}" or ({second}).' for first in WORDS for second in WORDS]
    titled = [f"{word.title()} {word.title()} {word} 12.5" for word in WORDS] * 20
    return bpe.train([*plain, *titled], 420)


@pytest.mark.parametrize("word", WORDS)
def test_a_word_is_cut_alike_with_and_without_a_space_or_a_quote(trained: Tokenizer, word: str) -> None:
    bare, spaced, quoted = (trained.encode(text).tokens for text in (word, f"a {word}", f'"{word}"'))
    assert [spaced[1].removeprefix(bpe.SPACE), *spaced[2:]] == bare == quoted[1:-1]


def test_frequent_capitals_are_cut_like_their_small_twins(trained: Tokenizer) -> None:
    for word in WORDS:
        small, tall = trained.encode(word).tokens, trained.encode(word.capitalize()).tokens
        assert [token.lower() for token in tall] == small


def test_the_vocabulary_is_full_and_text_comes_back(trained: Tokenizer) -> None:
    text = "Señor Scarf’s 12 carpets\n\n\tcost £3.50 — <|im_end|>"
    assert trained.get_vocab_size() <= 420
    assert trained.decode(trained.encode(text).ids, skip_special_tokens=False) == text


def test_forms_of_one_word_share_its_number(trained: Tokenizer) -> None:
    forms, vocab = bpe.forms(trained), trained.get_vocab()
    assert len({forms[vocab[token]].word for token in ("s", "Ġs", "S", "ĠS")}) == 1
    assert (forms[vocab["ĠS"]].spaced, forms[vocab["ĠS"]].capital) == (True, True)
    alone = (*bpe.SPECIAL, "s", "Ġ", "a", "1")
    assert len({forms[vocab[token]].word for token in alone}) == len(alone)


def test_a_capital_counts_with_and_without_its_space() -> None:
    merges = [("s", "c"), ("sc", "a"), ("sca", "r")]
    half = bpe.LEAST_CAPITALS // 2
    assert bpe._frequent_capitals({"Scar": half, "ĠScar": half}, merges) == {"sc", "sca", "scar"}
    assert not bpe._frequent_capitals({"Scar": half, "scar": 10 * half}, merges)
