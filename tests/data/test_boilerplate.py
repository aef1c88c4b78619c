"""Passages that many texts share at an end: the longest one is told, plain language is not."""

from __future__ import annotations

import csv
from pathlib import Path

from smallworks.data.boilerplate import boilerplate

SIGNED = "Kind regards\nThe Harbour Team\nThis mail is confidential."
NOTICE = "This message may hold privileged matter and is meant for the one who is named in it alone."
WORDS = ("amber", "basil", "cedar", "delta", "ember", "fjord", "grove", "heron", "ivory", "jade")
TEXTS = [f"{a} does not work with {b}" for a in WORDS for b in WORDS]


def test_a_signature_is_told_whole_with_its_count() -> None:
    texts = [f"{text}\n\n{SIGNED}" if i % 11 == 0 else text for i, text in enumerate(TEXTS)]
    (found,) = boilerplate(texts)
    assert (found.end, found.text, found.texts) == ("end", SIGNED, 10)


def test_a_passage_inside_a_line_is_told_from_twelve_words_on() -> None:
    (found,) = boilerplate([f"{NOTICE} {text}" for text in TEXTS[:20]] + TEXTS)
    assert found.end == "begin" and found.texts == 20 and NOTICE.startswith(found.text)
    assert len(found.text.split()) == 12


def test_a_text_that_is_nothing_else_is_no_boilerplate() -> None:
    assert boilerplate([SIGNED.splitlines()[0]] * 50) == []


def test_few_texts_and_rare_passages_are_left_alone() -> None:
    assert boilerplate([f"{text}\n{SIGNED}" for text in TEXTS[:4]]) == []
    assert boilerplate([f"{t} {i}\n{SIGNED}" for i, t in enumerate(TEXTS[:5])] + TEXTS * 3) == []
    assert boilerplate([]) == []


def test_plain_questions_have_none(shared: Path) -> None:
    with (shared / "data" / "banking77" / "test.csv").open(encoding="utf-8", newline="") as file:
        assert boilerplate([row["text"] for row in csv.DictReader(file)]) == []
