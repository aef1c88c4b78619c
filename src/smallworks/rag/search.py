"""Find passages: by their words (BM25), by the nearness of vectors, or by both, fused. Filters on metadata.

Vectors are compared exactly, all of them: 100,000 of 384 numbers are one matrix product of some
milliseconds. sqlite-vec does the same scan, and would need an SQLite that loads extensions, which many
Pythons lack.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from smallworks.errors import DataError, UserError
from smallworks.rag.document import Passage
from smallworks.rag.fusion import fused
from smallworks.rag.store import Store
from smallworks.rag.words import Words
from smallworks.seams import Embedder

By = Literal["both", "words", "vectors"]
K = 5
"""Passages that an answer rests on, unless asked otherwise."""
DEEP = 50
"""Passages of each ranking that take part in the fusion."""
WIDEST = 4000
"""Passages that a search scores, as far as the counts of stems foretell: the rarest stems come first."""
Condition = tuple[str, list[str]]
"""SQL behind a WHERE, and its values."""
RANKED = "SELECT words.rowid, bm25(words) AS score FROM words"


@dataclass(frozen=True, kw_only=True)
class Hit:
    """A passage that was found. `score` orders one result and means nothing beyond it.

    `bm25` is higher for better; `cosine` is -1 to 1. None where that search did not find it.
    """

    passage: Passage
    score: float
    bm25: float | None = None
    cosine: float | None = None


class Index:
    """An index that is asked. Close it, or use it as a context; for one thread at a time."""

    def __init__(self, path: Path, embedder: Embedder | None = None, *, frozen: bool = False) -> None:
        """`embedder` is the one that the index was made with (`embedder_name`); without it, words alone.

        `frozen` as the store has it: for an index inside of a bundle.
        """
        self.store = Store(path, frozen=frozen)
        if self.store.empty:
            self.store.close()
            raise DataError(f"'{path}' is no index.", fix=f"Make one: smallworks index FOLDER --out {path}")
        self.embedder = embedder
        self.words = Words()
        self._counts: dict[str, int] = {}
        self._vectors: tuple[np.ndarray, np.ndarray] | None = None
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
        if k < 1:
            raise UserError(f"-k {k} finds nothing.", fix="Give 1 or more.")
        self._refresh()
        found: dict[int, float] = {}
        near: dict[int, float] = {}
        condition = _condition(where or {}, without)
        if by != "vectors":
            found = self._by_words(question, max(k, DEEP), condition)
        if by == "vectors" or (by == "both" and self.embedder is not None):
            near = self._by_vectors(question, max(k, DEEP), condition)
        if by == "both" and near:
            best = fused([list(found), list(near)])[:k]
        else:
            best = list((near if by == "vectors" else found).items())[:k]
        passages = self.store.passages([one for one, _ in best])
        return [
            Hit(passage=p, score=score, bm25=found.get(p.id), cosine=near.get(p.id))
            for p, (_, score) in zip(passages, best, strict=True)
        ]

    def weights(self, stems: Sequence[str]) -> dict[str, float]:
        """How much each stem tells: the logarithm of how few passages have it, above 0."""
        total = self.store.counts()[1]
        return {stem: math.log(1 + (total + 1) / (self._count(stem) + 0.5)) for stem in stems}

    def close(self) -> None:
        self.words.close()
        self.store.close()

    def __enter__(self) -> Index:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- by words -------------------------------------------------------------------------------

    def _by_words(self, question: str, most: int, condition: Condition) -> dict[int, float]:
        asked = self._worth_asking(self.words.asked(question))
        if not asked:
            return {}
        sql, values = condition
        query = " OR ".join(f'"{word}"' for word in asked)
        join = "JOIN passages p ON p.id = words.rowid JOIN documents d ON d.id = p.document" if sql else ""
        whole = f"{RANKED} {join} WHERE words MATCH ?{sql} ORDER BY score LIMIT ?"
        rows = self.store.file.execute(whole, (query, *values, most))
        return {row[0]: -row[1] for row in rows}

    def _worth_asking(self, asked: Mapping[str, str]) -> list[str]:
        """Words from the rarest on, until enough passages have one of them."""
        counted = sorted((self._count(stem), word) for stem, word in asked.items())
        chosen: list[str] = []
        seen = 0
        for count, word in counted:
            seen += count
            if chosen and seen > WIDEST:
                break
            if count:
                chosen.append(word)
        return chosen

    def _count(self, stem: str) -> int:
        """How many passages have it: noted for frequent ones, counted for the others, then remembered."""
        if stem not in self._counts:
            file = self.store.file
            row = file.execute("SELECT passages FROM frequent WHERE stem = ?", (stem,)).fetchone()
            row = row or file.execute("SELECT doc FROM vocabulary WHERE term = ?", (stem,)).fetchone()
            self._counts[stem] = row[0] if row else 0
        return self._counts[stem]

    # --- by vectors -----------------------------------------------------------------------------

    def _by_vectors(self, question: str, most: int, condition: Condition) -> dict[int, float]:
        if self.embedder is None:
            raise UserError(
                f"'{self.store.path}' is searched by vectors, and no embedder is at hand.",
                fix="Name the one that it was made with: --embedder PATH.",
            )
        ids, matrix = self._matrix()
        if not len(ids):
            return {}
        nearness = matrix @ self.embedder.embed([question])[0]
        sql, values = condition
        if sql:
            whole = f"SELECT p.id FROM passages p JOIN documents d ON d.id = p.document WHERE 1{sql}"
            allowed = np.fromiter((row[0] for row in self.store.file.execute(whole, values)), np.int64)
            nearness = np.where(np.isin(ids, allowed), nearness, -np.inf)
        top = np.argpartition(-nearness, min(most, len(ids)) - 1)[:most]
        top = top[np.lexsort((ids[top], -nearness[top]))]
        return {int(ids[one]): float(nearness[one]) for one in top if nearness[one] > -np.inf}

    def _matrix(self) -> tuple[np.ndarray, np.ndarray]:
        """Ids [n] and vectors [n, dimension] in float32, read once."""
        if self._vectors is None:
            dimension = self.store.fact("dimension") or 0
            if dimension and self.embedder is not None and dimension != self.embedder.dimension:
                raise DataError(
                    f"'{self.store.path}' has vectors of {dimension} numbers, the embedder makes "
                    f"{self.embedder.dimension}.",
                    fix="Name the embedder that it was made with, or index the folder with the new one.",
                )
            rows = self.store.file.execute("SELECT passage, vector FROM vectors ORDER BY passage").fetchall()
            ids = np.fromiter((row[0] for row in rows), np.int64, len(rows))
            packed = b"".join(row[1] for row in rows)
            vectors = (
                np.frombuffer(packed, np.float16).astype(np.float32).reshape(len(rows), -1 if rows else 0)
            )
            self._vectors = ids, vectors
        return self._vectors

    def _refresh(self) -> None:
        """Forget what is remembered when another connection has changed the file."""
        version = self.store.file.execute("PRAGMA data_version").fetchone()[0]
        if version != self._version:
            self._version, self._vectors = version, None
            self._counts.clear()


def _condition(where: Mapping[str, str], without: str) -> Condition:
    """`path` is the document's own; all else is metadata."""
    parts: list[str] = []
    values: list[str] = []
    for name, value in where.items():
        if '"' in name:
            raise UserError(f"'{name}' is no name of a condition.", fix="Write --where name=value.")
        if name != "path":
            values.append(f'$."{name}"')
        column = "d.path" if name == "path" else "json_extract(p.metadata, ?)"
        parts.append(f" AND {column} {'GLOB' if set(value) & set('*?') else '='} ?")
        values.append(value)
    if without:
        parts.append(" AND d.path != ?")
        values.append(without)
    return "".join(parts), values
