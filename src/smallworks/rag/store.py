"""The index as one SQLite file: documents, their passages, the words of these (FTS5), their vectors.

A document and all that hangs on it change in one transaction, so that a killed process leaves each document
whole: as it was, or as it is. In WAL mode others read meanwhile. Vectors are compared exactly, all of them:
100,000 of 384 numbers are one matrix product of some milliseconds. sqlite-vec does the same scan, and would
need an SQLite that loads extensions, which many Pythons lack. Knows no format, no folder and no question.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from smallworks.errors import DataError, UserError
from smallworks.files import unwritable
from smallworks.rag.document import Passage
from smallworks.rag.words import TOKENIZER, spaced

VERSION = 1
APPLICATION = 0x53774978
"""'SwIx', by which our files are told from other SQLite files."""
PATIENCE_SECONDS = 10.0
SCHEMA = f"""
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE documents (
  id INTEGER PRIMARY KEY, path TEXT NOT NULL UNIQUE, hash TEXT NOT NULL, title TEXT NOT NULL,
  unseen INTEGER NOT NULL
);
CREATE TABLE passages (
  id INTEGER PRIMARY KEY, document INTEGER NOT NULL REFERENCES documents (id), place INTEGER NOT NULL,
  headings TEXT NOT NULL, text TEXT NOT NULL, metadata TEXT NOT NULL, UNIQUE (document, place)
);
CREATE TABLE vectors (passage INTEGER PRIMARY KEY REFERENCES passages (id), vector BLOB NOT NULL);
CREATE TABLE frequent (stem TEXT PRIMARY KEY, passages INTEGER NOT NULL) WITHOUT ROWID;
CREATE VIRTUAL TABLE words USING fts5(headings, text, content='', tokenize='{TOKENIZER}');
CREATE VIRTUAL TABLE vocabulary USING fts5vocab(words, 'row');
"""
WHOLE = """
SELECT p.id, d.path AS document, p.place, p.headings, p.text, p.metadata
FROM passages p JOIN documents d ON d.id = p.document
"""
RANKED = "SELECT words.rowid, bm25(words) AS score FROM words"
BESIDE = "JOIN passages p ON p.id = words.rowid JOIN documents d ON d.id = p.document"
ALLOWED = "SELECT p.id FROM passages p JOIN documents d ON d.id = p.document WHERE 1"
FREQUENT = 0.02
"""A stem that this share of the passages has is frequent: how often is noted, since counting takes long."""


class Store:
    """One open index. Close it, or use it as a context; for one thread at a time."""

    def __init__(self, path: Path, *, create: bool = False, frozen: bool = False) -> None:
        """Raises DataError for a file that is not there (unless `create`), or is no index of ours.

        A file without any table stays as it is unless `create`; it is `empty`, and has no fact. A
        `frozen` one is only read, and nothing is put beside it: it must not change meanwhile.
        """
        if not path.is_file() and not create:
            raise DataError(f"No index at '{path}'.", fix=f"Make one: smallworks index FOLDER --out {path}")
        self.path = path
        self._file = _open(path, create, frozen)
        self._vectors: tuple[int, np.ndarray, np.ndarray] | None = None
        self.empty = not self._file.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]

    @property
    def file(self) -> sqlite3.Connection:
        """For reading; whoever writes does so in `writing`."""
        return self._file

    # --- documents ------------------------------------------------------------------------------

    def hashes(self) -> dict[str, str]:
        """Path → the hash of what was indexed."""
        return dict(self._file.execute("SELECT path, hash FROM documents").fetchall())

    def put(self, path: str, key: str, title: str, unseen: int, passages: Sequence[Passage]) -> None:
        """A document in place of what has its path. Only inside `writing`."""
        self.take_out(path)
        document = self._file.execute(
            "INSERT INTO documents (path, hash, title, unseen) VALUES (?, ?, ?, ?)",
            (path, key, title, unseen),
        ).lastrowid
        first = self._file.execute("SELECT coalesce(max(id), 0) + 1 FROM passages").fetchone()[0]
        rows = [
            (
                first + at,
                document,
                p.place,
                headings_of(p),
                p.text,
                json.dumps(p.metadata, ensure_ascii=False),
            )
            for at, p in enumerate(passages)
        ]
        self._file.executemany("INSERT INTO passages VALUES (?, ?, ?, ?, ?, ?)", rows)
        words = [(row[0], spaced(row[3]), spaced(row[4])) for row in rows]
        self._file.executemany("INSERT INTO words (rowid, headings, text) VALUES (?, ?, ?)", words)

    def take_out(self, path: str) -> int:
        """A document and all that hangs on it; how many passages that were. Only inside `writing`."""
        found = self._file.execute("SELECT id FROM documents WHERE path = ?", (path,)).fetchone()
        if found is None:
            return 0
        rows = self._file.execute(
            "SELECT id, headings, text FROM passages WHERE document = ?", found
        ).fetchall()
        # The words keep no text of their own: to be forgotten, they must be told what they were.
        gone = [("delete", row[0], spaced(row[1]), spaced(row[2])) for row in rows]
        self._file.executemany("INSERT INTO words (words, rowid, headings, text) VALUES (?, ?, ?, ?)", gone)
        self._file.executemany("DELETE FROM vectors WHERE passage = ?", [(row[0],) for row in rows])
        self._file.execute("DELETE FROM passages WHERE document = ?", found)
        self._file.execute("DELETE FROM documents WHERE id = ?", found)
        return len(rows)

    # --- passages -------------------------------------------------------------------------------

    def passages(self, ids: Sequence[int]) -> list[Passage]:
        """In the order of `ids`."""
        marks = ",".join("?" * len(ids))
        rows = self._file.execute(f"{WHOLE} WHERE p.id IN ({marks})", tuple(ids))
        found = {row["id"]: passage_of(row) for row in rows}
        return [found[one] for one in ids if one in found]

    def all_passages(self) -> Iterator[Passage]:
        return map(passage_of, self._file.execute(f"{WHOLE} ORDER BY d.path, p.place"))

    def counts(self) -> tuple[int, int]:
        """Documents and passages."""
        row = self._file.execute("SELECT (SELECT count(*) FROM documents), (SELECT count(*) FROM passages)")
        documents, passages = row.fetchone()
        return documents, passages

    # --- searches -------------------------------------------------------------------------------

    def version(self) -> int:
        """Another number after another connection has changed the index."""
        return int(self._file.execute("PRAGMA data_version").fetchone()[0])

    def having(self, stems: Sequence[str]) -> dict[str, int]:
        """How many passages have each: noted for frequent ones, counted for the others."""
        found = {}
        for stem in stems:
            row = self._file.execute("SELECT passages FROM frequent WHERE stem = ?", (stem,)).fetchone()
            row = row or self._file.execute("SELECT doc FROM vocabulary WHERE term = ?", (stem,)).fetchone()
            found[stem] = row[0] if row else 0
        return found

    def by_words(
        self, asked: Mapping[str, str], most: int, where: Mapping[str, str], without: str
    ) -> dict[int, float]:
        """Passage → BM25, the best first. `asked` maps stems to words that have them."""
        sql, values = _condition(where, without)
        query = " OR ".join(f'"{word}"' for word in asked.values())
        whole = f"{RANKED} {BESIDE if sql else ''} WHERE words MATCH ?{sql} ORDER BY score LIMIT ?"
        return {row[0]: -row[1] for row in self._file.execute(whole, (query, *values, most))}

    def by_vector(
        self, vector: np.ndarray, most: int, where: Mapping[str, str], without: str
    ) -> dict[int, float]:
        """Passage → cosine, the best first; all are compared."""
        ids, matrix = self._matrix()
        if not len(ids):
            return {}
        nearness = matrix @ vector
        sql, values = _condition(where, without)
        if sql:
            allowed = np.fromiter((row[0] for row in self._file.execute(ALLOWED + sql, values)), np.int64)
            nearness = np.where(np.isin(ids, allowed), nearness, -np.inf)
        top = np.argpartition(-nearness, min(most, len(ids)) - 1)[:most]
        top = top[np.lexsort((ids[top], -nearness[top]))]
        return {int(ids[one]): float(nearness[one]) for one in top if nearness[one] > -np.inf}

    def _matrix(self) -> tuple[np.ndarray, np.ndarray]:
        """Ids [n] and vectors [n, dimension] in float32, read once."""
        version = self.version()
        if self._vectors is None or self._vectors[0] != version:
            rows = self._file.execute("SELECT passage, vector FROM vectors ORDER BY passage").fetchall()
            ids = np.fromiter((row[0] for row in rows), np.int64, len(rows))
            packed = np.frombuffer(b"".join(row[1] for row in rows), np.float16).astype(np.float32)
            self._vectors = version, ids, packed.reshape(len(rows), -1 if rows else 0)
        return self._vectors[1:]

    # --- vectors --------------------------------------------------------------------------------

    def ready_for_vectors(self) -> None:
        """Always: they are bytes here. A shared store may have no room for them."""

    def bare(self, most: int) -> list[Passage]:
        """Up to `most` passages that have no vector yet."""
        where = "WHERE p.id NOT IN (SELECT passage FROM vectors) ORDER BY p.id LIMIT ?"
        return list(map(passage_of, self._file.execute(f"{WHOLE} {where}", (most,))))

    def missing_vectors(self) -> int:
        sql = "SELECT count(*) FROM passages WHERE id NOT IN (SELECT passage FROM vectors)"
        return int(self._file.execute(sql).fetchone()[0])

    def put_vectors(self, rows: Iterable[tuple[int, bytes]]) -> None:
        """Only inside `writing`. A passage that has gone meanwhile is passed over."""
        sql = (
            "INSERT OR REPLACE INTO vectors SELECT ?1, ?2 WHERE EXISTS (SELECT 1 FROM passages WHERE id = ?1)"
        )
        self._file.executemany(sql, rows)

    def drop_vectors(self) -> None:
        self._file.execute("DELETE FROM vectors")

    # --- facts ----------------------------------------------------------------------------------

    def fact(self, name: str) -> Any:
        """A JSON value, None where there is none."""
        if self.empty:
            return None
        row = self._file.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return json.loads(row[0]) if row else None

    def note(self, name: str, value: Any) -> None:
        """Only inside `writing`; None forgets it."""
        if value is None:
            self._file.execute("DELETE FROM facts WHERE name = ?", (name,))
            return
        self._file.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, json.dumps(value)))

    def settle(self) -> None:
        """After many changes: words in one piece, and how often the frequent ones occur."""
        with self.writing():
            self._file.execute("INSERT INTO words (words) VALUES ('optimize')")
            self.note("unsettled", None)
            least = max(2, int(FREQUENT * self.counts()[1]))
            self._file.execute("DELETE FROM frequent")
            self._file.execute(
                "INSERT INTO frequent SELECT term, doc FROM vocabulary WHERE doc >= ?", (least,)
            )

    def freeze(self, out: Path) -> None:
        """The whole index as one file that may be opened `frozen`: all of it settled, nothing beside it."""
        self.settle()
        out.parent.mkdir(parents=True, exist_ok=True)
        out.unlink(missing_ok=True)
        self._file.execute("VACUUM INTO ?", (str(out),))
        copy = sqlite3.connect(out, isolation_level=None)
        copy.execute("PRAGMA journal_mode = DELETE")
        copy.close()

    @contextmanager
    def reading(self) -> Iterator[None]:
        """All that is read sees the index of one moment."""
        self._file.execute("BEGIN")
        try:
            yield
        finally:
            self._file.execute("COMMIT")

    @contextmanager
    def writing(self) -> Iterator[None]:
        """One transaction: all of it, or nothing."""
        self._vectors = None
        try:
            self._file.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._file.execute("ROLLBACK")
                raise
            self._file.execute("COMMIT")
        except sqlite3.OperationalError as error:
            raise unwritable(self.path, OSError(0, str(error))) from error

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _open(path: Path, create: bool, frozen: bool) -> sqlite3.Connection:
    where = f"{path.absolute().as_uri()}?mode=ro&immutable=1" if frozen else path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = sqlite3.connect(
            where, isolation_level=None, timeout=PATIENCE_SECONDS, check_same_thread=False, uri=frozen
        )
    except (OSError, sqlite3.OperationalError) as error:
        raise unwritable(path, OSError(0, str(error))) from error
    file.row_factory = sqlite3.Row
    try:
        _prepare(file, path, create, frozen)
    except sqlite3.DatabaseError as error:
        file.close()
        if "no such module" in str(error):
            raise UserError(
                f"The SQLite of this Python ({sqlite3.sqlite_version}) has no FTS5: {error}.",
                fix="Use a Python from python.org or of your distribution.",
            ) from error
        raise DataError(
            f"'{path}' is no index: {error}.",
            fix="Name another file, or delete it and index the folder again.",
        ) from error
    except BaseException:
        file.close()
        raise
    return file


def _prepare(file: sqlite3.Connection, path: Path, create: bool, frozen: bool) -> None:
    """The tables of a file that is new and to be made.

    Raises DataError for a file of another program or another version.
    """
    version, application = (
        file.execute(f"PRAGMA {name}").fetchone()[0] for name in ("user_version", "application_id")
    )
    tables = file.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if tables and (application != APPLICATION or version != VERSION):
        raise DataError(
            f"'{path}' is no index of this version (its mark is {application:#x}, version {version}).",
            fix="Name another file, or delete it and index the folder again.",
        )
    if frozen or (not tables and not create):
        return
    file.execute("PRAGMA journal_mode = WAL")
    file.execute("PRAGMA synchronous = NORMAL")
    file.execute("PRAGMA cache_size = -65536")
    if not tables:
        file.executescript(
            f"BEGIN IMMEDIATE; PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {VERSION}; "
            f"{SCHEMA} COMMIT;"
        )


def _condition(where: Mapping[str, str], without: str) -> tuple[str, list[str]]:
    """SQL behind a WHERE, and its values. `path` is the document's own; all else is metadata."""
    parts: list[str] = []
    values: list[str] = []
    for name, value in where.items():
        if name != "path":
            values.append(f'$."{name}"')
        column = "d.path" if name == "path" else "json_extract(p.metadata, ?)"
        parts.append(f" AND {column} {'GLOB' if set(value) & set('*?') else '='} ?")
        values.append(value)
    if without:
        parts.append(" AND d.path != ?")
        values.append(without)
    return "".join(parts), values


def headings_of(passage: Passage) -> str:
    """As they are kept: one a line."""
    return "\n".join(passage.headings)


def passage_of(row: Mapping[str, Any]) -> Passage:
    """From the columns of `WHOLE`."""
    return Passage(
        id=row["id"],
        document=row["document"],
        place=row["place"],
        headings=tuple(row["headings"].split("\n")) if row["headings"] else (),
        text=row["text"],
        metadata=json.loads(row["metadata"]),
    )
