"""Our TF-IDF is scikit-learn's, to 1e-6, on any text: the oracle is its own vectoriser."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from smallworks.engines.ngrams import Block, char_ngrams, learn, word_ngrams

sklearn_text = pytest.importorskip("sklearn.feature_extraction.text")

OPTIONS = {
    "word": {"ngram_range": (1, 2)},
    "char": {"analyzer": "char_wb", "ngram_range": (2, 5), "min_df": 2},
}
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30) | st.text("ab c.é漢", max_size=30)
TICKETS = [
    "The export button does nothing when I click it!!",
    "Please add dark mode, dark mode, DARK MODE",
    "İstanbul'da ödeme başarısız; ﬁnal ﬁle",
    "エクスポートできません。 请添加 深色模式",
    "naïve café 1,234.50€ snake_case x 🎉🎉",
    "",
    " \t\n\u2003 ",
    "a",
    "The export button",
]


def dense(block: Block, texts: Sequence[str]) -> np.ndarray:
    table = np.zeros((len(texts), len(block.idf)))
    for i, text in enumerate(texts):
        columns, weights = block.row(text)
        table[i, columns] = weights
    return table


def assert_equal_to_the_oracle(texts: Sequence[str], others: Sequence[str], family: str) -> None:
    oracle = sklearn_text.TfidfVectorizer(sublinear_tf=True, **OPTIONS[family])
    block = learn(texts, family)
    try:
        oracle.fit(texts)
    except ValueError:  # its way to say that no n-gram is left
        assert block.columns == {}
        return
    assert list(block.columns) == list(oracle.get_feature_names_out())
    np.testing.assert_allclose(dense(block, others), oracle.transform(others).toarray(), atol=1e-6)


@pytest.mark.parametrize("family", ["word", "char"])
def test_real_sentences_weigh_as_the_oracle_says(family: str) -> None:
    assert_equal_to_the_oracle(TICKETS, [*TICKETS, "An unseen export of dark cafés"], family)


@pytest.mark.parametrize("family", ["word", "char"])
@example(texts=["ab", "ab"], others=["ab ab", "AB"])
@example(texts=["İ İ", "ẞ ß"], others=["i̇"])
@given(texts=st.lists(TEXT, min_size=1, max_size=6), others=st.lists(TEXT, min_size=1, max_size=3))
def test_any_text_weighs_as_the_oracle_says(family: str, texts: list[str], others: list[str]) -> None:
    assert_equal_to_the_oracle(texts, [*texts, *others], family)


@pytest.mark.parametrize("family", ["word", "char"])
def test_a_row_has_length_one_or_is_empty(family: str) -> None:
    block = learn(TICKETS, family)
    for text in TICKETS:
        columns, weights = block.row(text)
        assert len(columns) == len(weights) == len(set(columns.tolist()))
        assert len(columns) == 0 or np.linalg.norm(weights) == pytest.approx(1.0, abs=1e-6)


def test_words_have_two_letters_and_pairs_stand_together() -> None:
    assert list(word_ngrams("A dark, dark mode")) == ["dark", "dark", "mode", "dark dark", "dark mode"]


def test_characters_stay_inside_their_word() -> None:
    assert list(char_ngrams("Ab c")) == [" a", "ab", "b ", " ab", "ab ", " ab ", " c", "c ", " c "]
