"""The index in PostgreSQL, for several machines: a schema of its own, and vectors where pgvector is.

PostgreSQL ranks words by no BM25. So which stems a passage has, and how often, are rows here, and BM25 is
computed from them as SQLite's FTS5 does, constants included: both stores rank alike. A document and all that
hangs on it change in one transaction, and who writes holds the row `totals`: writers wait for each other,
readers for nobody. Vectors are compared exactly. Knows no format, no folder and no question.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import numpy as np

from smallworks.errors import DataError, SmallworksError, UpstreamError, UserError
from smallworks.postgresql import Address, unreadable
from smallworks.rag.document import Passage
from smallworks.rag.store import FREQUENT, headings_of, passage_of
from smallworks.rag.words import Words

if TYPE_CHECKING:
    import psycopg

VERSION = 1
USUAL = "smallworks_index"
"""The schema of an address that names none."""
NAMED = re.compile(r"([?&])schema=(?P<schema>[^&]*)(?P<more>&?)")
"""The schema among the settings of an address; libpq knows no such setting."""
PATIENCE_SECONDS = 10.0
"""How long connecting, a search, or waiting for who writes may take."""
WRITING_SECONDS = 600
LONGEST = 200
"""Signs of a stem that count: an index row of PostgreSQL holds no more than 2,704 bytes."""
K1, B, LEAST_IDF = 1.2, 0.75, 1e-6
"""Those of FTS5's bm25()."""
SCHEMA = f"""
CREATE TABLE facts (name text PRIMARY KEY, value text NOT NULL);
CREATE TABLE documents (
  id bigint PRIMARY KEY, path text COLLATE "C" NOT NULL UNIQUE, hash text NOT NULL, title text NOT NULL,
  unseen bigint NOT NULL
);
CREATE TABLE passages (
  id bigint PRIMARY KEY, document bigint NOT NULL REFERENCES documents (id), place integer NOT NULL,
  headings text NOT NULL, text text NOT NULL, metadata jsonb NOT NULL, length integer NOT NULL,
  UNIQUE (document, place)
);
CREATE TABLE words (
  stem text COLLATE "C", passage bigint, times integer NOT NULL, length integer NOT NULL,
  PRIMARY KEY (stem, passage)
);
CREATE INDEX ON words (passage);
CREATE TABLE frequent (stem text COLLATE "C" PRIMARY KEY, passages bigint NOT NULL);
CREATE TABLE totals (
  documents bigint NOT NULL, passages bigint NOT NULL, words bigint NOT NULL, last bigint NOT NULL,
  changes bigint NOT NULL
);
INSERT INTO totals VALUES (0, 0, 0, 0, 0);
INSERT INTO facts VALUES ('version', '{VERSION}');
"""
WHOLE = """
SELECT p.id, d.path AS document, p.place, p.headings, p.text, p.metadata::text AS metadata
FROM passages p JOIN documents d ON d.id = p.document
"""
FIELDS = ("id", "document", "place", "headings", "text", "metadata")
HAVING = """
SELECT asked.stem, coalesce(f.passages, (SELECT count(*) FROM words w WHERE w.stem = asked.stem))
FROM unnest(%s::text[]) AS asked (stem) LEFT JOIN frequent f ON f.stem = asked.stem
"""
BM25 = """
WITH hits AS MATERIALIZED (SELECT stem, passage, times, length FROM words WHERE stem = ANY (%s)),
idf AS (
  SELECT h.stem, t.words::float8 / t.passages AS average,
    greatest(ln((t.passages - count(*) + 0.5) / (count(*) + 0.5)), {least}) AS weight
  FROM hits h CROSS JOIN totals t GROUP BY h.stem, t.words, t.passages
)
SELECT h.passage, sum(
  i.weight * h.times * ({k1} + 1) / (h.times + {k1} * (1 - {b} + {b} * h.length / i.average))
)::float8 AS score
FROM hits h JOIN idf i ON i.stem = h.stem {beside}
WHERE true{condition} GROUP BY h.passage ORDER BY score DESC, h.passage LIMIT %s
"""
NEAREST = """
SELECT v.passage, -(v.vector <#> %s::vector) FROM vectors v {beside}
WHERE true{condition} ORDER BY v.vector <#> %s::vector, v.passage LIMIT %s
"""
BESIDE = "JOIN passages p ON p.id = {of}.passage JOIN documents d ON d.id = p.document"


class SharedStore:
    """One connection to an index. Close it, or use it as a context; for one thread at a time."""

    def __init__(self, url: str, *, create: bool = False) -> None:
        """`url` names the schema as `?schema=`. DataError: no index is there, and none is to be made.

        Raises UpstreamError for a server that cannot be reached, MissingExtra without psycopg.
        """
        address, schema = _split(url)
        self._schema = f'"{schema}"'
        self._address = Address(address)
        self.path = told(url)
        self._words = Words()
        self._new: list[tuple[str, str, str, int, Sequence[Passage]]] = []
        self._totals = [0, 0, 0, 0]
        with self._told():
            self._base = self._address.connected("smallworks index", PATIENCE_SECONDS)
        try:
            with self._told():
                self.empty = not self._prepare(create)
        except BaseException:
            self.close()
            raise
        if self.empty and not create:
            self.close()
            raise DataError(
                f"No index at '{self.path}'.", fix="Make one: smallworks index FOLDER --out ADDRESS"
            )

    @property
    def base(self) -> psycopg.Connection:
        """For reading; whoever writes does so in `writing`."""
        return self._base

    # --- documents ------------------------------------------------------------------------------

    def hashes(self) -> dict[str, str]:
        """Path → the hash of what was indexed."""
        return dict(self._rows("SELECT path, hash FROM documents"))

    def put(self, path: str, key: str, title: str, unseen: int, passages: Sequence[Passage]) -> None:
        """A document in place of what has its path. Only inside `writing`, at the end of which it is sent."""
        self.take_out(path)
        self._new.append((path, key, _clean(title), unseen, passages))

    def take_out(self, path: str) -> int:
        """A document and all that hangs on it; how many passages that were. Only inside `writing`."""
        rows = self._rows(
            "SELECT p.id, p.length FROM documents d LEFT JOIN passages p ON p.document = d.id "
            "WHERE d.path = %s",
            (path,),
        )
        if not rows:
            return 0
        gone = [row for row in rows if row[0] is not None]
        ids = [row[0] for row in gone]
        self._run("DELETE FROM words WHERE passage = ANY (%s)", (ids,))
        if self._has_vectors():
            self._run("DELETE FROM vectors WHERE passage = ANY (%s)", (ids,))
        self._run("DELETE FROM passages WHERE id = ANY (%s)", (ids,))
        self._run("DELETE FROM documents WHERE path = %s", (path,))
        self._count(-1, -len(ids), -sum(row[1] for row in gone))
        return len(ids)

    # --- passages -------------------------------------------------------------------------------

    def passages(self, ids: Sequence[int]) -> list[Passage]:
        """In the order of `ids`."""
        rows = self._rows(f"{WHOLE} WHERE p.id = ANY (%s)", (list(ids),))
        found = {row[0]: _passage(row) for row in rows}
        return [found[one] for one in ids if one in found]

    def all_passages(self) -> Iterator[Passage]:
        """A hundred at a time, as of the first."""
        name = f"passages_{uuid4().hex}"
        with self._told(), self._base.cursor(name, withhold=True) as cursor:
            yield from map(_passage, cursor.execute(f"{WHOLE} ORDER BY d.path, p.place".encode()))

    def counts(self) -> tuple[int, int]:
        """Documents and passages."""
        ((documents, passages),) = self._rows("SELECT documents, passages FROM totals")
        return documents, passages

    # --- searches -------------------------------------------------------------------------------

    def version(self) -> int:
        """Another number after another connection has changed the index."""
        return int(self._rows("SELECT changes FROM totals")[0][0])

    def having(self, stems: Sequence[str]) -> dict[str, int]:
        """How many passages have each: noted for frequent ones, counted for the others."""
        cut = {stem: stem[:LONGEST] for stem in stems}
        found = dict(self._rows(HAVING, (list(set(cut.values())),)))
        return {stem: found[short] for stem, short in cut.items()}

    def by_words(
        self, asked: Mapping[str, str], most: int, where: Mapping[str, str], without: str
    ) -> dict[int, float]:
        """Passage → BM25, the best first. `asked` has the stems as keys."""
        sql, values = _condition(where, without)
        beside = BESIDE.format(of="h") if sql else ""
        whole = BM25.format(k1=K1, b=B, least=LEAST_IDF, beside=beside, condition=sql)
        return dict(self._rows(whole, ([stem[:LONGEST] for stem in asked], *values, most)))

    def by_vector(
        self, vector: np.ndarray, most: int, where: Mapping[str, str], without: str
    ) -> dict[int, float]:
        """Passage → cosine, the best first; all are compared."""
        if not self._has_vectors():
            return {}
        sql, values = _condition(where, without)
        whole = NEAREST.format(beside=BESIDE.format(of="v") if sql else "", condition=sql)
        said = _said(vector)
        return dict(self._rows(whole, (said, *values, said, most)))

    # --- vectors --------------------------------------------------------------------------------

    def ready_for_vectors(self) -> None:
        """A table for them. Raises UserError where there is no pgvector, or no right to switch it on."""
        if self._has_vectors():
            return
        if not self._rows("SELECT 1 FROM pg_available_extensions WHERE name = 'vector'"):
            raise UserError(
                f"The PostgreSQL of '{self.path}' has no pgvector, which keeps the vectors.",
                fix="Install the package postgresql-NN-pgvector there, or index by words alone: no embedder.",
            )
        with self._told():
            self._run("CREATE EXTENSION IF NOT EXISTS vector SCHEMA public")
            self._search_path()
            self._run(
                "CREATE TABLE IF NOT EXISTS vectors (passage bigint PRIMARY KEY, vector vector NOT NULL)"
            )

    def bare(self, most: int) -> list[Passage]:
        """Up to `most` passages that have no vector yet."""
        none = "WHERE NOT EXISTS (SELECT 1 FROM vectors v WHERE v.passage = p.id) ORDER BY p.id LIMIT %s"
        return list(map(_passage, self._rows(f"{WHOLE} {none}", (most,))))

    def missing_vectors(self) -> int:
        none = "NOT EXISTS (SELECT 1 FROM vectors v WHERE v.passage = p.id)"
        return int(self._rows(f"SELECT count(*) FROM passages p WHERE {none}")[0][0])

    def put_vectors(self, rows: Iterable[tuple[int, bytes]]) -> None:
        """In float16. Only inside `writing`. A passage that has gone meanwhile is passed over."""
        sql = """INSERT INTO vectors SELECT id, %s::vector FROM passages WHERE id = %s
        ON CONFLICT (passage) DO UPDATE SET vector = excluded.vector"""
        said = [(_said(np.frombuffer(packed, np.float16)), passage) for passage, packed in rows]
        with self._base.cursor() as cursor:
            cursor.executemany(sql, said)

    def drop_vectors(self) -> None:
        if self._has_vectors():
            self._run("DELETE FROM vectors")

    # --- facts ----------------------------------------------------------------------------------

    def fact(self, name: str) -> Any:
        """A JSON value, None where there is none."""
        rows = self._rows("SELECT value FROM facts WHERE name = %s", (name,))
        return json.loads(rows[0][0]) if rows else None

    def note(self, name: str, value: Any) -> None:
        """Only inside `writing`; None forgets it."""
        self._run("DELETE FROM facts WHERE name = %s", (name,))
        if value is not None:
            self._run("INSERT INTO facts VALUES (%s, %s)", (name, json.dumps(value)))

    def settle(self) -> None:
        """After many changes: how often the frequent words occur, and what the planner is to know."""
        with self.writing():
            self.note("unsettled", None)
            least = max(2, int(FREQUENT * self.counts()[1]))
            self._run("DELETE FROM frequent")
            many = "SELECT stem, count(*) FROM words GROUP BY stem HAVING count(*) >= %s"
            self._run(f"INSERT INTO frequent {many}", (least,))
            self._run("ANALYZE words, passages")

    # --- transactions ---------------------------------------------------------------------------

    @contextmanager
    def reading(self) -> Iterator[None]:
        """All that is read sees the index of one moment."""
        with self._told(), self._base.transaction():
            self._run("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            yield

    @contextmanager
    def writing(self) -> Iterator[None]:
        """One transaction: all of it, or nothing."""
        self._new.clear()
        with self._told(), self._base.transaction():
            self._run(f"SET LOCAL lock_timeout = {int(1000 * PATIENCE_SECONDS)}")
            self._run(f"SET LOCAL statement_timeout = {1000 * WRITING_SECONDS}")
            (found,) = self._rows("SELECT documents, passages, words, last FROM totals FOR UPDATE")
            self._totals = list(found)
            yield
            self._send()
            totals = "documents = %s, passages = %s, words = %s, last = %s, changes = changes + 1"
            self._run(f"UPDATE totals SET {totals}", tuple(self._totals))

    def close(self) -> None:
        self._words.close()
        self._base.close()

    def __enter__(self) -> SharedStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- inside ---------------------------------------------------------------------------------

    def _send(self) -> None:
        """All documents of a transaction, their passages and the words of these."""
        documents, passages, words = [], [], []
        for path, key, title, unseen, parts in self._new:
            document = self._number()
            documents.append((document, path, key, title, unseen))
            texts = [(_clean(headings_of(part)), _clean(part.text)) for part in parts]
            stems = self._words.each([f"{headings}\n{text}" for headings, text in texts])
            for part, (headings, text), found in zip(parts, texts, stems, strict=True):
                one, length = self._number(), len(found)
                cells = {_clean(name): _clean(value) for name, value in part.metadata.items()}
                metadata = json.dumps(cells, ensure_ascii=False)
                passages.append((one, document, part.place, headings, text, metadata, length))
                counted = Counter(stem[:LONGEST] for stem in found)
                words += [(stem, one, times, length) for stem, times in counted.items()]
        words.sort()  # a stem's rows side by side are few pages to write and to read
        for table, rows in (("documents", documents), ("passages", passages), ("words", words)):
            with self._base.cursor().copy(f"COPY {table} FROM STDIN".encode()) as copy:
                for row in rows:
                    copy.write_row(row)
        self._count(len(documents), len(passages), sum(row[-1] for row in passages))
        self._new.clear()

    def _number(self) -> int:
        """The next id, never given before."""
        self._totals[3] += 1
        return self._totals[3]

    def _count(self, documents: int, passages: int, words: int) -> None:
        for at, more in enumerate((documents, passages, words)):
            self._totals[at] += more

    def _prepare(self, create: bool) -> bool:
        """Whether there is an index, which is made where there is none and `create`.

        Raises DataError for one of another version.
        """
        self._search_path()
        self._run("SET jit = off")  # it takes longer than any search here
        here = "SELECT to_regclass(%s) IS NOT NULL"
        facts = f"{self._schema}.facts"
        if create and not self._rows(here, (facts,))[0][0]:
            with self._base.transaction():
                self._rows("SELECT pg_advisory_xact_lock(hashtext(%s))", (self._schema,))
                if not self._rows(here, (facts,))[0][0]:  # somebody else may just have made it
                    self._run(f"CREATE SCHEMA IF NOT EXISTS {self._schema}")
                    self._run(SCHEMA)
        if not self._rows(here, (facts,))[0][0]:
            return False
        if (version := self.fact("version")) != VERSION:
            raise DataError(
                f"'{self.path}' is no index of this version (its mark is {version!r}).",
                fix="Name another schema, or drop that one and index the folder again.",
            )
        return True

    def _search_path(self) -> None:
        """Ours, and where pgvector is."""
        where = "SELECT n.nspname FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace"
        beside = self._rows(f"{where} WHERE e.extname = 'vector'")
        names = [self._schema, *(f'"{row[0]}"' for row in beside)]
        self._rows("SELECT set_config('search_path', %s, false)", (", ".join(names),))

    def _has_vectors(self) -> bool:
        return bool(self._rows("SELECT to_regclass(%s) IS NOT NULL", (f"{self._schema}.vectors",))[0][0])

    def _rows(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        with self._told():
            return self._base.execute(sql.encode(), values or None).fetchall()

    def _run(self, sql: str, values: Sequence[Any] = ()) -> psycopg.Cursor[Any]:
        return self._base.execute(sql.encode(), values or None)

    @contextmanager
    def _told(self) -> Iterator[None]:
        """PostgreSQL's errors as ours."""
        errors = self._address.psycopg.errors
        try:
            yield
        except SmallworksError:
            raise
        except errors.LockNotAvailable as error:
            raise UserError(
                f"Somebody else has been writing to '{self.path}' for {PATIENCE_SECONDS:g} seconds.",
                fix="Wait until they are done, and run it again.",
            ) from error
        except errors.InsufficientPrivilege as error:
            raise UserError(
                f"'{self.path}' does not let us: {error.diag.message_primary}.",
                fix="Grant its user that right, or let its owner do it once.",
            ) from error
        except errors.DuplicateTable as error:
            raise DataError(
                f"'{self.path}' holds tables of another program: {error.diag.message_primary}.",
                fix="Name a schema of its own: ?schema=NAME.",
            ) from error
        except self._address.psycopg.DataError as error:
            raise UserError(
                f"'{self.path}' cannot take a value: {' '.join(str(error).split())[:200]}.",
                fix="Leave out signs and numbers that PostgreSQL does not keep, such as NUL.",
            ) from error
        except self._address.psycopg.Error as error:
            raise UpstreamError(
                f"'{self.path}' cannot be used: {' '.join(str(error).split())[:200]}.",
                fix="Start it, or mend the address.",
            ) from error


def told(url: str) -> str:
    """An address without its password."""
    address, schema = _split(url)
    parts = Address(address).parts
    user = f"{parts['user']}@" if parts.get("user") else ""
    host = str(parts.get("host", ""))
    host, socket = ("", f"host={host}&") if host.startswith("/") else (host, "")
    port = f":{parts['port']}" if str(parts.get("port", "")).isdecimal() else ""
    return f"postgresql://{user}{host}{port}/{parts.get('dbname', '')}?{socket}schema={schema}"


def _split(url: str) -> tuple[str, str]:
    """What libpq reads of an address, and the schema that it names."""
    scheme, marks, rest = url.partition("://")
    found = NAMED.search(rest)
    schema = found["schema"] if found else USUAL
    if "@" in schema:
        raise unreadable()
    if not re.fullmatch(r"[a-z_][a-z0-9_]{0,50}", schema):
        raise UserError(
            f"'{schema}' is no name of a schema.", fix="Use small letters, digits and _: ?schema=handbook."
        )
    return scheme.lower() + marks + NAMED.sub(lambda at: at[1] if at["more"] else "", rest, count=1), schema


def _condition(where: Mapping[str, str], without: str) -> tuple[str, list[str]]:
    """SQL behind a WHERE, and its values. `path` is the document's own; all else is metadata."""
    parts: list[str] = []
    values: list[str] = []
    for name, value in where.items():
        pattern = bool(set(value) & set("*?"))
        if name != "path":
            values.append(name)
        column = "d.path" if name == "path" else "p.metadata ->> %s"
        parts.append(f" AND {column} {'LIKE' if pattern else '='} %s")
        values.append(_like(value) if pattern else value)
    if without:
        parts.append(" AND d.path != %s")
        values.append(without)
    return "".join(parts), values


def _like(pattern: str) -> str:
    """A pattern with * and ? as LIKE has it."""
    escaped = re.sub(r"([\\%_])", r"\\\1", pattern)
    return escaped.replace("*", "%").replace("?", "_")


def _clean(text: str) -> str:
    """PostgreSQL keeps no NUL."""
    return text.replace("\0", "")


def _said(vector: np.ndarray) -> str:
    return f"[{','.join(map(str, vector.astype(np.float32).tolist()))}]"


def _passage(row: Sequence[Any]) -> Passage:
    return passage_of(dict(zip(FIELDS, row, strict=True)))
