"""The table goes to JSON and comes back the same; a finished build is one whose files are all there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smallworks import files
from smallworks.bundle import Manifest, freeze
from smallworks.recipes.table import FINISHED, from_json, read_finished, to_json, write_finished
from smallworks.types import Estimate, Latency, Parity, PromptSpec, Row, Table, Verdict

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
NUMBER = st.floats(0, 1e9)
COUNT = st.integers(0, 10**12)
PATHS = st.sampled_from([Path("a"), Path("a/b é"), Path("/x/y")])
ESTIMATES = st.builds(Estimate, value=NUMBER, low=NUMBER, high=NUMBER, n=COUNT, level=NUMBER)
VERDICTS = st.builds(
    Verdict,
    outcome=st.sampled_from(["pass", "fail", "inconclusive"]),
    reason=TEXT,
    rows_needed=st.none() | COUNT,
)
LATENCIES = st.builds(Latency, p50=NUMBER, p95=NUMBER, p99=NUMBER, n=COUNT, rows_per_second=NUMBER)
PARITIES = st.builds(
    Parity,
    rows=COUNT,
    ids_equal=COUNT,
    texts_equal=COUNT,
    worst=NUMBER,
    tolerance=NUMBER,
    holds=st.booleans(),
)
ROWS = st.builds(
    Row,
    name=TEXT,
    kind=TEXT,
    engine=TEXT,
    metric=st.none() | ESTIMATES,
    metrics=st.dictionaries(TEXT, ESTIMATES, max_size=2),
    latency=st.none() | LATENCIES,
    disk_bytes=st.none() | COUNT,
    peak_memory_bytes=st.none() | COUNT,
    cost_per_1000=st.none() | NUMBER,
    verdict=st.none() | VERDICTS,
    bundle=st.none() | PATHS,
    records=st.none() | PATHS,
    parity=st.none() | PARITIES,
    per_class=st.dictionaries(TEXT, st.dictionaries(TEXT, NUMBER, max_size=2), max_size=2),
    notes=st.lists(TEXT, max_size=2).map(tuple),
    skipped=st.none() | TEXT,
)
TABLES = st.builds(
    Table,
    task=TEXT,
    metric=TEXT,
    rows=st.lists(ROWS, max_size=3).map(tuple),
    chosen=st.none() | PATHS,
    chosen_name=st.none() | TEXT,
    why=TEXT,
    seconds=st.dictionaries(TEXT, NUMBER, max_size=2),
    report=st.none() | PATHS,
)


@given(TABLES)
def test_a_table_comes_back_the_same(table: Table) -> None:
    assert from_json(json.loads(json.dumps(to_json(table)))) == table


def test_the_document_has_what_readers_look_for() -> None:
    row = Row(name="linear", kind="linear", engine="linear", bundle=Path("b"))
    table = Table(
        task="t",
        metric="accuracy",
        rows=(row,),
        chosen=Path("b"),
        chosen_name="linear",
        why="w",
        seconds={"fit": 1.0},
    )
    document = to_json(table)
    assert document["chosen"] == {"name": "linear", "bundle": "b", "why": "w"}
    assert document["candidates"][0]["bundle"] == "b" and document["report"] is None


@pytest.fixture
def built(tmp_path: Path) -> Table:
    files.write_text(tmp_path / "draft" / "weights", "1")
    files.write_text(tmp_path / "report.html", "")
    files.write_text(tmp_path / "records.jsonl", "")
    spec = PromptSpec(style="raw", kind="classify")
    manifest = Manifest(task="t", kind="classify", candidate="c", engine="fake", prompt=spec)
    bundle = freeze(tmp_path / "draft", manifest, into=tmp_path / "bundles").path
    row = Row(name="c", kind="c", engine="fake", bundle=bundle, records=tmp_path / "records.jsonl")
    table = Table(
        task="t",
        metric="accuracy",
        rows=(row,),
        chosen=bundle,
        chosen_name="c",
        why="w",
        seconds={},
        report=tmp_path / "report.html",
    )
    write_finished(tmp_path, "key", table)
    return table


def test_a_finished_build_is_read_back(tmp_path: Path, built: Table) -> None:
    assert read_finished(tmp_path, "key") == built


def test_another_key_or_no_table_is_not_finished(tmp_path: Path, built: Table) -> None:
    assert read_finished(tmp_path, "other") is None
    (tmp_path / FINISHED).unlink()
    assert read_finished(tmp_path, "key") is None


@pytest.mark.parametrize(
    "lost", ["report.html", "records.jsonl", "bundles/*/bundle.json", "bundles/*/weights"]
)
def test_a_build_whose_files_are_gone_is_not_finished(tmp_path: Path, built: Table, lost: str) -> None:
    (path,) = tmp_path.glob(lost)
    path.unlink()
    assert read_finished(tmp_path, "key") is None
