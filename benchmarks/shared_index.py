"""An index in PostgreSQL finds what one in a file finds, where PostgreSQL's own ranking finds less.

Measured: the 240 paragraphs of XQuAD (English) indexed in a file and in PostgreSQL, its 1,190 questions asked
by words: recall@5 of both, against `ts_rank_cd` and `ts_rank` on tsvectors of the same passages ('english',
any word of the question). Then 10,000 generated passages of 90 words with Zipf's frequencies: passages
indexed a second, the median and the 95th percentile of 300 searches, and what either store takes on disk,
the one as a share of the other. Not covered: vectors, several machines, a PostgreSQL over a network. Needs
a PostgreSQL at 127.0.0.1:5432, or at SMALLWORKS_TEST_POSTGRES; its schema is dropped at the end.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any
from uuid import uuid4

from benchmarks.claim import Finding, Say, Skipped
from benchmarks.retrieval import K, Question, paragraphs, share_of, vocabulary

UNIT = "recall@5 by words, in PostgreSQL"
GOAL = "the recall@5 of a file; more than ts_rank_cd"
ADDRESS = "postgresql://postgres@127.0.0.1:5432/postgres"
PASSAGES, FILES, SEARCHES, DEEP = 10_000, 100, 300, 20
RANKED = """
SELECT d.path FROM {schema}.passages p JOIN {schema}.documents d ON d.id = p.document
JOIN ranked ON ranked.id = p.id CROSS JOIN (SELECT to_tsquery('english', coalesce(string_agg(
  quote_literal(lexeme), ' | '), '''none''')) AS asked FROM unnest(to_tsvector('english', %s))) AS question
WHERE ranked.text @@ asked ORDER BY {by}(ranked.text, asked) DESC LIMIT {most}
"""


def measure(say: Say) -> Finding:
    base = _connected()
    schema = f"benchmark_{uuid4().hex[:12]}"
    where = in_schema(os.environ.get("SMALLWORKS_TEST_POSTGRES", ADDRESS), schema)
    try:
        with tempfile.TemporaryDirectory(prefix="smallworks-") as scratch:
            found = _recall(Path(scratch), where, schema, base)
            say(str(found))
            base.execute(f"DROP SCHEMA {schema} CASCADE")
            here = _speed(Path(scratch), Path(scratch) / "many.sqlite")
            say(str(here))
            there = _speed(Path(scratch), where)
            say(str(there))
            tables = "SELECT sum(pg_total_relation_size(c.oid)) FROM pg_class c JOIN pg_namespace n "
            where_ours = "ON n.oid = c.relnamespace WHERE c.relkind = 'r' AND n.nspname = %s"
            here["bytes"] = (Path(scratch) / "many.sqlite").stat().st_size
            there["bytes"] = int(base.execute(tables + where_ours, (schema,)).fetchone()[0])
    finally:
        base.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE")
    ratios = {f"{name}_to_a_file": round(there[name] / here[name], 2) for name in here}
    return Finding(
        value=found["postgresql"],
        holds=found["postgresql"] == found["file"] > found["ts_rank_cd"],
        against={"name": "ts_rank_cd of PostgreSQL", "recall@5": found["ts_rank_cd"]},
        details={**found, **ratios},
    )


def _connected() -> Any:
    address = os.environ.get("SMALLWORKS_TEST_POSTGRES", ADDRESS)
    try:
        import psycopg

        return psycopg.connect(address, autocommit=True, connect_timeout=2)
    except (ImportError, OSError) as error:
        raise Skipped("no psycopg: pip install psycopg") from error
    except psycopg.Error as error:  # the address may hold a password
        raise Skipped("no PostgreSQL at SMALLWORKS_TEST_POSTGRES, or at 127.0.0.1:5432") from error


def in_schema(address: str, schema: str) -> str:
    return f"{address}{'&' if '?' in address else '?'}schema={schema}"


def _recall(folder: Path, where: str, schema: str, base: Any) -> dict[str, float]:
    from smallworks import rag

    questions = paragraphs(folder / "xquad")
    found = {}
    for name, store in (("file", folder / "xquad.sqlite"), ("postgresql", where)):
        rag.index(folder / "xquad", store)
        with rag.Index(store) as index:
            found[name] = share_of(_searched(index, questions), questions)
    base.execute(
        "CREATE TEMP TABLE ranked AS SELECT id, to_tsvector('english', headings || ' ' || text) AS text "
        f"FROM {schema}.passages"
    )
    for by in ("ts_rank_cd", "ts_rank"):
        sql = RANKED.format(schema=schema, by=by, most=DEEP)
        ranked = [[row[0] for row in base.execute(sql, (text,))] for text, _ in questions]
        found[by] = share_of(ranked, questions)
    return found


def _searched(index: Any, questions: Sequence[Question]) -> list[list[str]]:
    return [[hit.passage.document for hit in index.search(text, DEEP)] for text, _ in questions]


def _speed(folder: Path, where: Path | str) -> dict[str, float]:
    from smallworks import rag

    draw = Random(7)
    words, weights = vocabulary(draw)
    many = folder / "many"
    many.mkdir(exist_ok=True)
    for number in range(FILES):
        parts = [
            f"## Part {place}\n\n{' '.join(draw.choices(words, cum_weights=weights, k=90))}."
            for place in range(PASSAGES // FILES)
        ]
        (many / f"{number:04}.md").write_text("\n\n".join(parts), encoding="utf-8")
    start = time.perf_counter()
    done = rag.index(many, where)
    seconds = time.perf_counter() - start
    times = []
    with rag.Index(where) as index:
        for _ in range(SEARCHES):
            question = " ".join(draw.choices(words, cum_weights=weights, k=draw.randint(3, 8)))
            start = time.perf_counter()
            index.search(question, K)
            times.append(1000 * (time.perf_counter() - start))
    times.sort()
    return {
        "seconds_per_passage": seconds / done.passages,
        "p50_ms": times[len(times) // 2],
        "p95_ms": times[int(0.95 * len(times))],
    }
