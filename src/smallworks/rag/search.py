"""Find passages: by their words (BM25), by the nearness of vectors, or by both, fused; then reranked.

A reranker reads the question and each of the first passages together, which tells more than either search
and takes far longer. Knows no store by name.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from smallworks.errors import DataError, UserError
from smallworks.rag.document import Passage
from smallworks.rag.fusion import fused
from smallworks.rag.opening import open_store
from smallworks.rag.words import Words
from smallworks.seams import Embedder, Reranker

By = Literal["both", "words", "vectors"]
K = 5
"""Passages that an answer rests on, unless asked otherwise."""
DEEP = 50
"""Passages of each ranking that take part in the fusion."""
WIDEST = 4000
"""Passages that a search scores, as far as the counts of stems foretell: the rarest stems come first."""
MOST = 1000
"""Passages that a search may be asked for."""
RERANKED = 20
"""Passages that a reranker reads; what is found behind them keeps its place."""


@dataclass(frozen=True, kw_only=True)
class Hit:
    """A passage that was found. `score` orders one result and means nothing beyond it.

    `bm25` is higher for better; `cosine` is -1 to 1. None where that search did not find it. `reranked` is
    what the reranker made of it, None where it did not read it.
    """

    passage: Passage
    score: float
    bm25: float | None = None
    cosine: float | None = None
    reranked: float | None = None


class Index:
    """An index that is asked. Close it, or use it as a context; for one thread at a time."""

    def __init__(
        self,
        where: Path | str,
        embedder: Embedder | None = None,
        reranker: Reranker | None = None,
        *,
        frozen: bool = False,
    ) -> None:
        """`embedder` is the one that the index was made with (`embedder_name`); without it, words alone.

        `where` and `frozen` as the stores have them: frozen is an index inside of a bundle.
        """
        self.store = open_store(where, frozen=frozen)
        if self.store.empty:
            self.store.close()
            raise DataError(
                f"'{self.store.path}' is no index.",
                fix=f"Make one: smallworks index FOLDER --out {self.store.path}",
            )
        self.embedder = embedder
        self.reranker = reranker
        self.words = Words()
        self._counts: dict[str, int] = {}
        self._version = -1

    def search(
        self,
        question: str,
        k: int = K,
        *,
        where: Mapping[str, str] | None = None,
        without: str = "",
        by: By = "both",
    ) -> list[Hit]:
        """The best `k`. `where` are conditions that all hold: a value, or a pattern with * and ?.

        `without` names a document that is not looked at.
        """
        if not 1 <= k <= MOST:
            raise UserError(f"-k {k} is no number of passages.", fix=f"Give 1 to {MOST:,}.")
        conditions = where or {}
        _check(conditions)
        with self.store.reading():
            return self._search(question, k, conditions, without, by)

    def weights(self, stems: Sequence[str]) -> dict[str, float]:
        """How much each stem tells: the logarithm of how few passages have it, above 0."""
        total = self.store.counts()[1]
        having = self._having(stems)
        return {stem: math.log(1 + (total + 1) / (having[stem] + 0.5)) for stem in stems}

    def close(self) -> None:
        self.words.close()
        self.store.close()

    def __enter__(self) -> Index:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _search(self, question: str, k: int, where: Mapping[str, str], without: str, by: By) -> list[Hit]:
        self._refresh()
        found: dict[int, float] = {}
        near: dict[int, float] = {}
        if by != "vectors":
            asked = self._worth_asking(self.words.asked(question))
            found = self.store.by_words(asked, max(k, DEEP), where, without) if asked else {}
        if by == "vectors" or (by == "both" and self.embedder is not None):
            near = self._by_vectors(question, max(k, DEEP), where, without)
        if by == "both" and near:
            best = fused([list(found), list(near)])
        else:
            best = list((near if by == "vectors" else found).items())
        best = self._reranked(question, best)
        read = {one for one, _ in best[:RERANKED]} if self.reranker else set()
        passages = self.store.passages([one for one, _ in best[:k]])
        return [
            Hit(
                passage=p,
                score=score,
                bm25=found.get(p.id),
                cosine=near.get(p.id),
                reranked=score if p.id in read else None,
            )
            for p, (_, score) in zip(passages, best[:k], strict=True)
        ]

    def _worth_asking(self, asked: Mapping[str, str]) -> dict[str, str]:
        """Stems with their words from the rarest on, until enough passages have one of them."""
        having = self._having(list(asked))
        chosen: dict[str, str] = {}
        seen = 0
        for count, word, stem in sorted((having[stem], word, stem) for stem, word in asked.items()):
            seen += count
            if chosen and seen > WIDEST:
                break
            if count:
                chosen[stem] = word
        return chosen

    def _having(self, stems: Sequence[str]) -> Mapping[str, int]:
        """How many passages have each; remembered."""
        new = [stem for stem in stems if stem not in self._counts]
        if new:
            self._counts |= self.store.having(new)
        return self._counts

    def _by_vectors(
        self, question: str, most: int, where: Mapping[str, str], without: str
    ) -> dict[int, float]:
        if self.embedder is None:
            raise UserError(
                f"'{self.store.path}' is searched by vectors, and no embedder is at hand.",
                fix="Name the one that it was made with: --embedder PATH.",
            )
        dimension = self.store.fact("dimension") or 0
        if dimension and dimension != self.embedder.dimension:
            raise DataError(
                f"'{self.store.path}' has vectors of {dimension} numbers, the embedder makes "
                f"{self.embedder.dimension}.",
                fix="Name the embedder that it was made with, or index the folder with the new one.",
            )
        if not dimension:
            return {}
        return self.store.by_vector(self.embedder.embed([question])[0], most, where, without)

    def _reranked(self, question: str, best: list[tuple[int, float]]) -> list[tuple[int, float]]:
        """(id, score), the first of them in the order of a reranker where there is one."""
        if self.reranker is None or not best:
            return best
        passages = self.store.passages([one for one, _ in best[:RERANKED]])
        scores = self.reranker.scores(question, [passage.whole for passage in passages])
        pairs = [(passage.id, float(score)) for passage, score in zip(passages, scores, strict=True)]
        pairs.sort(key=lambda pair: (-pair[1], pair[0]))
        rest = [(one, pairs[-1][1] - place) for place, (one, _) in enumerate(best[RERANKED:], 1)]
        return [*pairs, *rest]

    def _refresh(self) -> None:
        """Forget what is remembered when another connection has changed the index."""
        version = self.store.version()
        if version != self._version:
            self._version = version
            self._counts.clear()


def _check(where: Mapping[str, str]) -> None:
    """Raises UserError for conditions that one store would read otherwise than another."""
    for name, value in where.items():
        if set(name) & set('"\0'):
            raise UserError(f"{name!r} is no name of a condition.", fix="Write --where name=value.")
        if "\0" in value:
            raise UserError(f"The condition {name}={value!r} holds NUL.", fix="Leave it out.")
        if "[" in value and set(value) & set("*?"):
            raise UserError(
                f"The condition {name}={value!r} is a pattern with [.",
                fix="A pattern knows * and ? alone: write ? for [.",
            )
