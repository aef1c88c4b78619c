"""Few-shot examples chosen by similarity: the training rows most like the input, by TF-IDF cosine.

Knows no prompt. The pool travels inside the bundle, so the choice is the same everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from smallworks import files
from smallworks.engines.ngrams import FAMILIES, Block, learn

POOL = "shots.jsonl"
POOL_ROWS = 2_000
"""More rows add load time, not similarity."""


class ShotFinder:
    """An inverted index over a pool of (text, answer) pairs."""

    def __init__(self, pool: Sequence[tuple[str, str]]) -> None:
        self.pool = tuple(pool)
        places: dict[str, set[int]] = {}
        for i, (text, _) in enumerate(self.pool):
            places.setdefault(text.strip(), set()).add(i)
        self._places = {text: frozenset(rows) for text, rows in places.items()}
        texts = [text for text, _ in pool]
        self._blocks = [learn(texts, family) for family in FAMILIES]
        self._postings = [_invert(texts, block) for block in self._blocks]

    def nearest(self, text: str, count: int) -> tuple[tuple[str, str], ...]:
        """The `count` most similar pairs, the most similar last (nearest to the question).

        A row whose text is the input itself is left out: it would hand over the answer.
        """
        return tuple(self.pool[row] for row, _ in reversed(self.ranked(text, count)))

    def ranked(self, text: str, count: int) -> list[tuple[int, float]]:
        """The places of the `count` most similar pairs and how similar each is, the most similar first."""
        scores = np.zeros(len(self.pool))
        for block, postings in zip(self._blocks, self._postings, strict=True):
            for column, weight in zip(*block.row(text), strict=True):
                rows, weights = postings[column]
                scores[rows] += weight * weights
        ranked = np.argsort(-scores, kind="stable")[: count + len(self._same(text))]
        best = [int(i) for i in ranked if i not in self._same(text)][:count]
        return [(i, float(scores[i])) for i in best]

    def _same(self, text: str) -> frozenset[int]:
        """Rows of the pool with this very text, white space at the ends aside."""
        return self._places.get(text.strip(), frozenset())


def _invert(texts: Sequence[str], block: Block) -> list[tuple[np.ndarray, np.ndarray]]:
    """For each column, the rows that hold it and their weights there."""
    rows = [block.row(text) for text in texts]
    owner = np.repeat(np.arange(len(texts)), [len(columns) for columns, _ in rows])
    columns = np.concatenate([c for c, _ in rows])
    weights = np.concatenate([w for _, w in rows])
    order = np.argsort(columns, kind="stable")
    edges = np.searchsorted(columns[order], np.arange(1, len(block.idf)))
    return list(zip(np.split(owner[order], edges), np.split(weights[order], edges), strict=True))


def write_pool(folder: Path, pool: Sequence[tuple[str, str]]) -> None:
    files.write_jsonl(folder / POOL, pool)


def read_pool(folder: Path) -> ShotFinder:
    return ShotFinder([(text, answer) for text, answer in files.read_jsonl(folder / POOL)])
