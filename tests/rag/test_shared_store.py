"""An index in PostgreSQL ranks as one in a file does, keeps writers apart, and says what it cannot do."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from smallworks import rag
from smallworks.errors import DataError, SmallworksError, UpstreamError, UserError
from smallworks.rag import shared_store
from smallworks.rag.document import Passage
from smallworks.rag.shared_store import SharedStore, told


def test_both_stores_give_the_same_scores(tmp_path: Path, shared: str) -> None:
    draw = random.Random(3)
    vocabulary = [f"word{n}" for n in range(200)]
    weights = [1 / (n + 2) for n in range(200)]
    (tmp_path / "d").mkdir()
    for number in range(80):
        text = " ".join(draw.choices(vocabulary, weights, k=draw.randint(5, 60)))
        (tmp_path / "d" / f"{number:02}.md").write_text(f"# {draw.choice(vocabulary)} 東京\n\n{text}")
    for where in (tmp_path / "i.sqlite", shared):
        rag.index(tmp_path / "d", where)
    with rag.Index(tmp_path / "i.sqlite") as here, rag.Index(shared) as there:
        for _ in range(40):
            question = " ".join(draw.choices(vocabulary, weights, k=4))
            ours, theirs = (
                [(h.passage.document, h.bm25) for h in i.search(question, 8)] for i in (here, there)
            )
            assert [score for _, score in theirs] == pytest.approx([score for _, score in ours], rel=1e-9)
            assert here.weights(["word1", "nowhere"]) == there.weights(["word1", "nowhere"])
        assert {h.passage.document for h in there.search("京", 80)} == {
            h.passage.document for h in here.search("京", 80)
        }


def test_signs_that_patterns_or_postgresql_know_are_signs(tmp_path: Path, shared: str) -> None:
    with SharedStore(shared, create=True) as store:
        rows = [("100%_a\\b.txt", "nul \0 here"), ("100xya.txt", "long" + "o" * 5000)]
        with store.writing():
            for path, text in rows:
                store.put(
                    path, "h", "t\0", 0, [Passage(text=text, metadata={"k'\0": 'v"\0\\u0000'}, place=1)]
                )
    with rag.Index(shared) as index:
        assert [
            h.passage.document for h in index.search("nul long" + "o" * 5000, where={"path": "100%_*"})
        ] == ["100%_a\\b.txt"]
        assert index.search("nul", where={"path": "*\\b.tx?"})[0].passage.metadata == {"k'": 'v"\\u0000'}
        assert index.search("long" + "o" * 5000)[0].passage.document == "100xya.txt"


def test_who_waits_too_long_for_another_writer_is_told(shared: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_store, "PATIENCE_SECONDS", 0.1)
    with SharedStore(shared, create=True) as one, SharedStore(shared) as other:
        with one.writing(), pytest.raises(UserError, match="Somebody else has been writing"), other.writing():
            pass
        with other.writing():
            other.note("fact", [1])
        assert one.fact("fact") == [1]


def test_a_failed_transaction_leaves_nothing(shared: str) -> None:
    with SharedStore(shared, create=True) as store:
        with pytest.raises(ZeroDivisionError), store.writing():
            store.put("a", "h", "t", 0, [Passage(text="a word", place=1)])
            raise ZeroDivisionError
        assert store.counts() == (0, 0) and store.hashes() == {}
        with store.writing():
            store.put("b", "h", "t", 0, [Passage(text="a word", place=1)])
        assert store.hashes() == {"b": "h"}


class Flat:
    """An embedder to which all texts are one."""

    dimension = 2

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        return np.tile(np.array([1, 0], np.float32), (len(texts), 1))


def test_without_pgvector_the_fix_is_named(folder: Path, shared: str, pgvector: bool) -> None:
    if pgvector:
        pytest.skip("this PostgreSQL has pgvector")
    with pytest.raises(UserError, match="has no pgvector") as caught:
        rag.index(folder, shared, embedder=Flat(), embedder_name="flat")
    assert "or index by words alone" in caught.value.fix
    assert rag.index(folder, shared).documents == 4


def test_mistakes_are_told_and_no_password_is(shared: str) -> None:
    with pytest.raises(DataError, match="No index at"):
        rag.Index(shared)
    with pytest.raises(UserError, match="'No-Name' is no name of a schema"):
        SharedStore("postgresql://u:secret@h/db?schema=No-Name")
    with pytest.raises(UpstreamError) as caught:
        SharedStore("postgresql://u:secret@127.0.0.1:1/db?schema=a")
    assert "secret" not in str(caught.value) and "schema=a" in str(caught.value)


def test_tables_of_another_program_are_left_alone(shared: str, postgres: str) -> None:
    import psycopg

    schema = shared.partition("schema=")[2]
    with psycopg.connect(postgres, autocommit=True) as base:
        base.execute(f"CREATE SCHEMA {schema}; CREATE TABLE {schema}.documents (id text)".encode())
    with pytest.raises(SmallworksError, match="tables of another program"):
        SharedStore(shared, create=True)


def test_an_address_keeps_what_libpq_reads_of_it(shared: str, postgres: str) -> None:
    schema = shared.partition("schema=")[2]
    beside = "&" if "?" in postgres else "?"
    for url in (
        f"{postgres}{beside}options=-c%20geqo%3Doff&schema={schema}",
        f"{postgres}{beside}schema={schema}&options=-c%20geqo%3Doff",
    ):
        with SharedStore(url, create=True) as store:
            assert store.base.execute("SHOW geqo").fetchone() == ("off",)
    assert told("postgresql:///db?schema=a&host=/var/run") == "postgresql:///db?host=/var/run&schema=a"


@pytest.mark.parametrize("url", ["postgresql://[::1/geheim", "postgresql://u:p?schema=geheim@h/d"])
def test_an_address_that_cannot_be_read_is_not_shown(url: str) -> None:
    pytest.importorskip("psycopg")
    with pytest.raises(UserError, match="cannot be read") as caught:
        told(url)
    assert "geheim" not in str(caught.value)


def test_a_value_that_postgresql_does_not_keep_is_the_askers(shared: str) -> None:
    with SharedStore(shared, create=True) as store:
        with pytest.raises(UserError, match="cannot take"):
            store.by_words({"a": "a"}, 5, {"team": "nul \0"}, "")
        with pytest.raises(UserError, match="cannot take"), store.reading():
            store.by_words({"a": "a"}, 10**19, {}, "")


def test_all_passages_come_piece_by_piece(shared: str) -> None:
    with SharedStore(shared, create=True) as store:
        parts = [Passage(text=f"word {place}", place=place) for place in range(1, 251)]
        with store.writing():
            store.put("a", "h", "t", 0, parts)
        first, other = store.all_passages(), store.all_passages()
        assert (next(first).place, next(other).place) == (1, 1)
        held = "SELECT count(*) FROM pg_cursors"
        assert store.base.execute(held).fetchone() == (2,)
        assert [p.place for p in first] == [p.place for p in other] == list(range(2, 251))
        assert store.base.execute(held).fetchone() == (0,)
