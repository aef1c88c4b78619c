"""Passages that many texts begin or end with: signatures, disclaimers, forms of address.

Pure functions over texts; knows no rows and takes nothing out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

End = Literal["begin", "end"]
ENDS: tuple[End, ...] = ("begin", "end")
MOST_LINES = 8
WORDS = (12, 24, 48)
"""Lengths in words at which passages inside a line are looked for; fewer words may well be plain language."""
LEAST_TEXTS = 5
LEAST_SHARE = 0.02


@dataclass(frozen=True, kw_only=True)
class Passage:
    """A text that `texts` of all begin or end with, each having more to say beside it."""

    end: End
    text: str
    texts: int


def boilerplate(texts: Sequence[str]) -> list[Passage]:
    """The longest of them, most frequent first: in LEAST_TEXTS texts and LEAST_SHARE of all, at least."""
    least = max(LEAST_TEXTS, LEAST_SHARE * len(texts))
    found: list[Passage] = []
    for end in ENDS:
        counts = Counter(passage for text in texts for passage in _passages(text, end))
        longest: Counter[str] = Counter()
        for text in texts:
            often = [passage for passage in _passages(text, end) if counts[passage] >= least]
            longest.update([max(often, key=len)] if often else [])
        found += [Passage(end=end, text=text, texts=n) for text, n in longest.items() if n >= least]
    return sorted(found, key=lambda passage: (-passage.texts, passage.end, passage.text))


def _passages(text: str, end: End) -> Iterator[str]:
    """What a text begins or ends with, of several lengths, single-spaced; never the whole of it."""
    lines = [" ".join(line.split()) for line in text.splitlines() if line.strip()]
    for count in range(1, min(MOST_LINES, len(lines) - 1) + 1):
        yield "\n".join(lines[:count] if end == "begin" else lines[-count:])
    words = text.split()
    for count in WORDS:
        if count < len(words):
            yield " ".join(words[:count] if end == "begin" else words[-count:])
