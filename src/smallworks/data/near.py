"""Pairs of texts that are nearly the same: folding for near duplicates, MinHash with bands for similar ones.

Pure functions over texts; knows nothing of rows, labels or files.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from smallworks.seams import Progress, silent

if TYPE_CHECKING:
    import numpy as np

SIMILAR = 0.8
"""Texts are similar when they share so much of their four-character sequences (Jaccard, 0–1)."""
SHINGLE = 4
HASHES = 64
BANDS = 16
"""16 bands of 4 hashes: a pair at 0.8 shares a band with probability 1 − (1 − 0.8⁴)¹⁶ = 0.9998."""
SLACK = 0.2
"""A pair is looked at exactly when its 64 hashes agree within four standard errors of SIMILAR."""
COMPARED = 4
"""A text is compared exactly with at most so many before it, the likeliest first."""
CHUNK, CHARACTERS = 2_000, 1_000_000
"""Texts, and their characters, that are hashed at a time."""
MARKS = re.compile(r"[.,;:!?…\"'“”‘’«»()]+(?!\d)")


def folded(text: str) -> str:
    """Text without case, spacing, sentence marks and Unicode look-alike forms: what near duplicates share.

    Marks before a digit stay, so that '.5' is not '5' and '1.5' is not '15'; so do operators and hyphens.
    """
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
    return " ".join(MARKS.sub(" ", text.casefold()).split())


def shingles(text: str) -> frozenset[str]:
    """The text's sequences of four characters; a shorter text is one sequence, filled up with spaces."""
    text = text.ljust(SHINGLE)
    return frozenset(text[at : at + SHINGLE] for at in range(len(text) - SHINGLE + 1))


def jaccard(a: str, b: str) -> float:
    """Shared sequences over all sequences of two texts, 0–1."""
    one, other = shingles(a), shingles(b)
    shared = len(one & other)
    return shared / (len(one) + len(other) - shared)


def similar(
    texts: Sequence[str],
    *,
    worth: Callable[[int, int], bool] = lambda earlier, later: True,
    progress: Progress = silent,
) -> Iterator[tuple[int, int, float]]:
    """Pairs (earlier index, later index, Jaccard ≥ SIMILAR) of folded texts, ordered by the later one.

    Not every pair of a large cluster: of the first and the last text before it in every band they share, the
    likeliest few are compared exactly, where `worth` says so (Broder 1997; Leskovec et al., ch. 3).
    The same texts always give the same pairs.
    """
    if len(texts) < 2:
        return
    signatures = _signatures(texts, progress)
    for earlier, later in _candidates(signatures):
        if worth(earlier, later):
            share = jaccard(texts[earlier], texts[later])
            if share >= SIMILAR:
                yield earlier, later, share


def _signatures(texts: Sequence[str], progress: Progress) -> np.ndarray:
    """The MinHash of every text: shape [len(texts), HASHES], uint32."""
    import numpy as np

    draw = np.random.default_rng(0)
    factors = draw.integers(0, 2**63, HASHES, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    offsets = draw.integers(0, 2**63, HASHES, dtype=np.uint64)
    found = np.empty((len(texts), HASHES), dtype=np.uint32)
    start = 0
    for chunk in _chunks(texts):
        hashes, begins = _shingle_hashes(chunk)
        for number in range(HASHES):
            mixed = (hashes * factors[number] + offsets[number]) >> np.uint64(32)
            found[start : start + len(chunk), number] = np.minimum.reduceat(mixed, begins)
        start += len(chunk)
        progress("similar", start, len(texts), "")
    return found


def _chunks(texts: Sequence[str]) -> Iterator[list[str]]:
    """All texts in order, so many at a time that their hashes take tens of megabytes."""
    chunk: list[str] = []
    characters = 0
    for text in texts:
        chunk.append(text)
        characters += len(text)
        if len(chunk) == CHUNK or characters >= CHARACTERS:
            yield chunk
            chunk, characters = [], 0
    if chunk:
        yield chunk


def _shingle_hashes(texts: Sequence[str]) -> tuple[Any, Any]:
    """One uint64 a sequence for all texts in a row, and where each text's own begin."""
    import numpy as np

    filled = [text.ljust(SHINGLE) for text in texts]
    characters = np.frombuffer("".join(filled).encode("utf-32-le"), dtype=np.uint32).astype(np.uint64)
    lengths = np.fromiter(map(len, filled), dtype=np.int64, count=len(filled))
    mixed = np.zeros(len(characters) - SHINGLE + 1, dtype=np.uint64)
    for at in range(SHINGLE):
        mixed = mixed * np.uint64(0x9E3779B97F4A7C15) + characters[at : at + len(mixed)]
    mixed ^= mixed >> np.uint64(29)
    mixed *= np.uint64(0xBF58476D1CE4E5B9)
    ends = np.cumsum(lengths)
    inside = np.ones(len(characters), dtype=bool)
    for back in range(1, SHINGLE):
        inside[ends - back] = False  # these sequences would run into the next text
    counts = lengths - SHINGLE + 1
    return mixed[inside[: len(mixed)]], np.cumsum(counts) - counts


def _candidates(signatures: np.ndarray) -> Iterator[tuple[int, int]]:
    """Index pairs that share a band and whose signatures agree well enough: the best few of each later one.

    Ordered by the later index, then by agreement.
    """
    import numpy as np

    rows = len(signatures)
    pairs = np.empty(0, dtype=np.int64)
    width = HASHES // BANDS
    for band in range(BANDS):
        keys = np.zeros(rows, dtype=np.uint64)
        for number in range(band * width, (band + 1) * width):
            keys = keys * np.uint64(0x9E3779B97F4A7C15) + signatures[:, number] + np.uint64(1)
        order = np.argsort(keys, kind="stable")
        same = keys[order[1:]] == keys[order[:-1]]
        place = np.arange(rows)
        place[1:][same] = 0
        first = np.maximum.accumulate(place)[1:][same]  # of each bucket
        later, before = order[1:][same], order[:-1][same]
        found = np.concatenate([later * rows + before, later * rows + order[first]])
        found = found[_agreement(signatures, found) >= SIMILAR - SLACK]
        pairs = _distinct(np.concatenate([pairs, found]))
    order = np.lexsort((pairs % rows, -_agreement(signatures, pairs), pairs // rows))
    later = pairs[order] // rows
    rank = np.arange(len(later)) - np.searchsorted(later, later)
    for pair in pairs[order][rank < COMPARED]:
        yield int(pair % rows), int(pair // rows)


def _distinct(numbers: np.ndarray) -> np.ndarray:
    """Sorted, each once; np.unique hashes, which takes many times as long on pairs like these."""
    import numpy as np

    numbers.sort()
    return numbers[np.concatenate([[True], numbers[1:] != numbers[:-1]])] if len(numbers) else numbers


def _agreement(signatures: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """The share of hashes in which each pair agrees: an estimate of its Jaccard."""
    import numpy as np

    rows, step = len(signatures), 50_000
    agree = np.zeros(len(pairs))
    for at in range(0, len(pairs), step):
        part = pairs[at : at + step]
        agree[at : at + step] = (signatures[part // rows] == signatures[part % rows]).mean(axis=1)
    return agree
