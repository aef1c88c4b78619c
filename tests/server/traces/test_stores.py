"""Both stores of traces: what is written is read again, old rows go, and a store that was gone comes back."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from smallworks.errors import SmallworksError, UserError
from smallworks.server.traces.postgres import PostgresTraces
from smallworks.server.traces.sqlite import SqliteTraces
from smallworks.server.traces.store import Store
from smallworks.server.traces.trace import Trace

ADDRESS = "postgresql://postgres@127.0.0.1:5432/postgres"
SCHEMA = f"smallworks_traces_test_{os.getpid()}"
USUAL: dict[str, Any] = {
    "id": "a",
    "at": 100.0,
    "route": "chat",
    "bundle": "tickets",
    "status": 200,
    "code": "",
    "ms": 1.5,
    "queue_ms": 0.5,
    "first_ms": None,
    "tokens_in": 3,
    "tokens_out": 4,
    "cost": 7,
    "key": "k",
    "stage": "",
    "cache": "",
}


def trace(**more: Any) -> Trace:
    return Trace(**{**USUAL, **more})


@pytest.fixture(params=["sqlite", "postgres"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    if request.param == "sqlite":
        made: Store = SqliteTraces(tmp_path / "traces.sqlite")
        yield made
        made.close()
        return
    psycopg = pytest.importorskip("psycopg")
    try:
        admin = psycopg.connect(ADDRESS, autocommit=True, connect_timeout=2)
    except psycopg.OperationalError:
        pytest.skip("no PostgreSQL on 127.0.0.1:5432")
    with admin:
        made = PostgresTraces(ADDRESS, schema=SCHEMA)
        yield made
        made.close()
        admin.execute(f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE")


def test_what_is_written_is_read_again(store: Store) -> None:
    kept = [
        trace(),
        trace(id="b", inputs=({"input": "ä\0\n"},), outputs=("x",), findings=("mask",), cost=None),
    ]
    store.write(kept)
    read = list(store.read())
    assert read[0] == kept[0] and store.count() == 2
    assert (read[1].findings, read[1].outputs) == (("mask",), ("x",))
    assert read[1].inputs in (({"input": "ä\0\n"},), ({"input": "ä\ufffd\n"},))


def test_the_newest_are_read_oldest_first_by_time_and_bundle(store: Store) -> None:
    store.write([trace(id=str(n), at=float(n), bundle="ab"[n % 2]) for n in range(6)])
    assert [t.id for t in store.read(last=2)] == ["4", "5"]
    assert [t.id for t in store.read(bundle="b", since=2)] == ["3", "5"]


def test_old_rows_and_more_than_enough_are_deleted(store: Store) -> None:
    store.write([trace(id=str(n), at=float(n)) for n in range(10)])
    assert store.trim(before=3.0, rows=100, most=2) == 2
    assert store.trim(before=3.0, rows=100, most=2) == 1
    assert store.count() == 7
    assert store.trim(before=0.0, rows=2, most=100) == 5
    assert [t.id for t in store.read()] == ["8", "9"]


def test_a_store_that_was_taken_away_comes_back(store: Store) -> None:
    store.write([trace()])
    if isinstance(store, SqliteTraces):
        store.path.unlink()
        store.write([trace(id="b")])
        assert [t.id for t in store.read()] == ["b"]
    else:
        assert isinstance(store, PostgresTraces) and store._open
        store._open.close()
        store.write([trace(id="b")])
        assert [t.id for t in store.read()] == ["a", "b"]


def test_a_locked_or_missing_place_fails_in_a_bounded_time_and_recovers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("smallworks.server.traces.sqlite.PATIENCE_SECONDS", 0.01)
    store = SqliteTraces(tmp_path / "traces.sqlite")
    store.write([trace()])
    other = sqlite3.connect(tmp_path / "traces.sqlite", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(sqlite3.OperationalError):
        store.write([trace()])
    other.execute("ROLLBACK")
    other.close()
    store.write([trace()])
    assert store.count() == 2
    store.close()
    with pytest.raises(SmallworksError):
        SqliteTraces(Path("/proc/none/traces.sqlite")).write([trace()])
    with pytest.raises(Exception):  # noqa: B017  whatever psycopg raises
        PostgresTraces("postgresql://127.0.0.1:1/none").write([trace()])


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no database " * 100)
    with pytest.raises(UserError, match="cannot hold traces"):
        SqliteTraces(tmp_path / "text").count()


def test_a_password_is_never_shown() -> None:
    assert "secret" not in PostgresTraces("postgresql://me:secret@host/db").where
    with pytest.raises(UserError) as caught:
        PostgresTraces("postgresql://me:secret@ho st:x y/db")
    assert "secret" not in str(caught.value)


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    inputs=st.lists(st.dictionaries(texts, texts, max_size=3), max_size=3).map(tuple) | st.none(),
    outputs=st.lists(texts, max_size=3).map(tuple) | st.none(),
)
def test_any_content_survives_the_row(inputs: Any, outputs: Any) -> None:
    kept = trace(inputs=inputs, outputs=outputs)
    assert Trace.read(kept.row()) == kept


def test_examples_are_named_inputs_with_the_answer() -> None:
    one = trace(inputs=({"input": "x"},), outputs=("bug",))
    two = trace(inputs=({"title": "x"}, {"title": "y"}), outputs=("bug", "question"))
    assert list(one.examples()) == [{"id": "a", "input": "x", "output": "bug"}]
    assert [row["id"] for row in two.examples()] == ["a-0", "a-1"]
    assert list(trace().examples()) == []
