"""ROUGE-1, ROUGE-2 and ROUGE-L: how many words, word pairs and words in order two texts share.

Lin 2004; F-measure with equal weight, no stemming, the figures of ROUGE-1.5.5. Words are runs of letters
and digits of any script, in lower case; on ASCII that is what `rouge-score` counts. ROUGE-L takes the
whole text as one sequence. Knows nothing of records.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

WORD = re.compile(r"[^\W_]+")


def words(text: str) -> list[str]:
    return WORD.findall(text.lower())


def rouge(prediction: str, target: str) -> dict[str, tuple[float, float, float]]:
    """(precision, recall, F) of rouge_1, rouge_2 and rouge_l, each 0–1; 0 where a text has no words."""
    said, wanted = words(prediction), words(target)
    return {
        "rouge_1": _overlap(said, wanted, 1),
        "rouge_2": _overlap(said, wanted, 2),
        "rouge_l": _score(longest_common(said, wanted), len(said), len(wanted)),
    }


def _overlap(said: Sequence[str], wanted: Sequence[str], n: int) -> tuple[float, float, float]:
    ours, theirs = _grams(said, n), _grams(wanted, n)
    return _score((ours & theirs).total(), ours.total(), theirs.total())


def _grams(tokens: Sequence[str], n: int) -> Counter[tuple[str, ...]]:
    return Counter(zip(*(tokens[i:] for i in range(n)), strict=False))


def _score(shared: int, said: int, wanted: int) -> tuple[float, float, float]:
    precision = shared / said if said else 0.0
    recall = shared / wanted if wanted else 0.0
    return precision, recall, 2 * shared / (said + wanted) if said and wanted else 0.0


def longest_common(a: Sequence[str], b: Sequence[str]) -> int:
    """Length of the longest common subsequence, one bit a word of `a` (Hyyrö 2004): O(len(a)·len(b)/64)."""
    places: dict[str, int] = {}
    for index, word in enumerate(a):
        places[word] = places.get(word, 0) | 1 << index
    full = (1 << len(a)) - 1
    free = full
    for word in b:
        matched = free & places.get(word, 0)
        free = ((free + matched) | (free - matched)) & full
    return len(a) - free.bit_count()
