"""Sentences end where a reader would end them."""

from __future__ import annotations

from smallworks.text.sentences import sentences


def test_sentences_end_at_marks_and_lines() -> None:
    assert sentences('He said "no." Then: 2.50 is due!\nNext line\n\n漢字。かな。') == [
        'He said "no."',
        "Then: 2.50 is due!",
        "Next line",
        "漢字。",
        "かな。",
    ]
