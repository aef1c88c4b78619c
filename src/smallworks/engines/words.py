"""The words of a text, and what a linear tagger sees of each: itself, its neighbours, all that stand near."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

WORD = re.compile(r"\w+|[^\w\s]")
REACH = 3
"""Neighbours on each side whose place counts."""
NEAR = 12
"""Words on each side that count wherever they stand."""
NONE = "<>"
"""Stands for a neighbour beyond either end."""


@dataclass(frozen=True, slots=True)
class Word:
    """A run of letters and digits, or one other sign; `text[start:end]` of the whole text."""

    text: str
    start: int
    end: int


def words(text: str) -> list[Word]:
    return [Word(match.group(), match.start(), match.end()) for match in WORD.finditer(text)]


def places(text: str, found: Sequence[Word], value: str) -> Iterator[tuple[int, int]]:
    """Where `value` stands in the text from the beginning of a word to the end of one."""
    starts, ends = {word.start for word in found}, {word.end for word in found}
    at = text.find(value) if value else -1
    while at >= 0:
        if at in starts and at + len(value) in ends:
            yield at, at + len(value)
        at = text.find(value, at + 1)


def features(found: Sequence[Word]) -> list[list[str]]:
    """For each word the names of what is true of it, about forty."""
    low = [word.text.lower() for word in found]
    close = [_close(word.text, small) for word, small in zip(found, low, strict=True)]
    return [
        [
            *(f"{d}:{_at(low, i + d)}" for d in range(-REACH, REACH + 1)),
            *(f"{d}{one}" for d in (-1, 0, 1) if 0 <= i + d < len(low) for one in close[i + d]),
            *(f"{d}+:{_at(low, i + d)} {_at(low, i + d + 1)}" for d in (-2, -1, 0, 1)),
            *sorted({f"near:{word}" for word in low[max(0, i - NEAR) : i + NEAR + 1]}),
        ]
        for i in range(len(low))
    ]


def _close(word: str, low: str) -> tuple[str, str, str]:
    """Its shape ('Aa', '99'), beginning and end."""
    shape = re.sub(r"[^\W\d_]+", lambda run: _shape(run.group()), re.sub(r"\d", "9", word))
    return f"shape:{shape}", f"head:{low[:3]}", f"tail:{low[-3:]}"


def _shape(letters: str) -> str:
    if letters.islower():
        return "a"
    return "A" if letters.isupper() else "Aa"


def _at(low: Sequence[str], i: int) -> str:
    return low[i] if 0 <= i < len(low) else NONE
