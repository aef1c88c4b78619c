"""Near and similar texts: folding keeps numbers apart, and MinHash finds what a full search finds."""

from __future__ import annotations

import itertools
import random

import pytest

from smallworks.data import near
from smallworks.data.near import SIMILAR, folded, jaccard, similar


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("Where is my card?", "where is  my CARD"),
        ("It broke... help!", "“it broke” help"),
        ("ﬁle №1", "file No1"),
    ],
)
def test_case_spacing_marks_and_forms_are_folded_away(a: str, b: str) -> None:
    assert folded(a) == folded(b)


@pytest.mark.parametrize(("a", "b"), [("1.5 mg", "15 mg"), (".5 mg", "5 mg"), ("2+2", "2-2"), ("-5", "5")])
def test_other_numbers_and_operators_stay_different(a: str, b: str) -> None:
    assert folded(a) != folded(b)


def texts(rows: int) -> list[str]:
    """Made-up texts, a third of them an earlier one with a letter or a word changed."""
    draw = random.Random(0)
    words = ["".join(draw.choices("abcdefghij", k=draw.randint(2, 8))) for _ in range(300)]
    made: list[str] = []
    for _ in range(rows):
        new = draw.choices(words, k=draw.randint(3, 20))
        if made and draw.random() < 0.33:
            new = draw.choice(made).split()
            new[draw.randrange(len(new))] = draw.choice(words)
        made.append(" ".join(new))
    return made


def test_whatever_a_full_search_finds_similar_is_found_similar() -> None:
    made = texts(400)
    full = {
        later
        for earlier, later in itertools.combinations(range(len(made)), 2)
        if jaccard(made[earlier], made[later]) >= SIMILAR
    }
    assert len(full) > 40
    assert {later for _, later, _ in similar(made)} == full


def test_pairs_carry_their_exact_share_in_order() -> None:
    made = texts(200)
    pairs = list(similar(made))
    assert [later for _, later, _ in pairs] == sorted(later for _, later, _ in pairs)
    assert all(
        earlier < later and share == jaccard(made[earlier], made[later]) for earlier, later, share in pairs
    )


@pytest.mark.parametrize("few", [[], [""], ["", ""], ["a", "b"], ["ab", "ab", "😀"]])
def test_few_and_short_texts_are_no_trouble(few: list[str]) -> None:
    assert all(few[earlier] == few[later] for earlier, later, _ in similar(few))


def test_texts_are_hashed_alike_in_chunks_of_any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"{'the export stops after page ' * (i % 7)}{i // 2}" for i in range(60)]
    whole = list(similar(texts))
    monkeypatch.setattr(near, "CHARACTERS", 50)
    assert list(similar(texts)) == whole != []
