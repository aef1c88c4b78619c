"""Reading files: round trips over every format, and errors that name the line."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from smallworks.data.read import read_rows
from smallworks.errors import DataError, MissingExtra

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
ROWS = st.lists(st.fixed_dictionaries({"text": TEXT, "label": TEXT}), min_size=1, max_size=8)
ANY = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


def cells(path: Path) -> list[dict[str, object]]:
    return [dict(row) for _, row in read_rows(path)]


@ANY
@given(rows=ROWS, ending=st.sampled_from([".csv", ".tsv"]), encoding=st.sampled_from(["utf-8", "utf-8-sig"]))
def test_what_csv_writes_is_read_back(
    tmp_path: Path, rows: list[dict[str, str]], ending: str, encoding: str
) -> None:
    path = tmp_path / f"rows{ending}"
    with path.open("w", newline="", encoding=encoding) as file:
        writer = csv.DictWriter(file, ["text", "label"], delimiter="\t" if ending == ".tsv" else ",")
        writer.writeheader()
        writer.writerows(rows)
    assert cells(path) == rows


@ANY
@given(rows=ROWS, ascii_only=st.booleans())
def test_what_json_writes_is_read_back(tmp_path: Path, rows: list[dict[str, str]], ascii_only: bool) -> None:
    lines = "\n".join(json.dumps(row, ensure_ascii=ascii_only) for row in rows)
    (tmp_path / "rows.jsonl").write_text(lines, encoding="utf-8", newline="")
    (tmp_path / "rows.json").write_text(
        json.dumps(rows, ensure_ascii=ascii_only), encoding="utf-8", newline=""
    )
    assert cells(tmp_path / "rows.jsonl") == cells(tmp_path / "rows.json") == rows


def test_parquet_is_read_and_a_broken_one_refused(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    rows = [{"messages": [{"role": "user", "content": "é"}], "n": 1}]
    import pyarrow.parquet as parquet

    parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "rows.parquet")
    assert cells(tmp_path / "rows.parquet") == rows
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(DataError, match=r"broken\.parquet"):
        cells(tmp_path / "broken.parquet")


def test_parquet_without_pyarrow_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtra, match=r"\.\[data\]"):
        cells(tmp_path / "rows.parquet")


def test_jsonl_rows_are_numbered_as_lines(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"a": 1}\n\n{"a": 2}\n')
    assert [number for number, _ in read_rows(tmp_path / "rows.jsonl")] == [1, 3]


def test_csv_rows_are_counted_without_header_and_blank_lines(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text('a;b\n"x\ny";1\n\nz;2\n')
    assert list(read_rows(tmp_path / "rows.csv")) == [(1, {"a": "x\ny", "b": "1"}), (2, {"a": "z", "b": "2"})]


def test_one_list_inside_an_object_and_jsonl_named_json_are_understood(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"data": [{"a": 1}]}')
    (tmp_path / "b.json").write_text('{"a": 1}\n{"a": 2}\n')
    assert cells(tmp_path / "a.json") == [{"a": 1}]
    assert cells(tmp_path / "b.json") == [{"a": 1}, {"a": 2}]


def test_a_long_cell_is_read(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("a\n" + "x" * 200_000)
    assert len(str(cells(tmp_path / "rows.csv")[0]["a"])) == 200_000


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.jsonl", b'{"a": 1}\n\n{"a": \n', "line 3"),
        ("a.jsonl", b'{"a": 1}\n[1]\n', "line 2 is a list"),
        ("a.jsonl", b'{"a": 1}\n{"a": "\xff"}\n', "line 2 is not UTF-8"),
        ("a.json", b'[{"a": 1},\n {"a" 1}]', "line 2"),
        ("a.json", b'[{"a": 1}, "x"]', "row 2 is a text"),
        ("a.json", b'"x"', "not a list of rows"),
        ("a.csv", b"a,b\n1,2\n1,2,3\n", "row 2 (line 3) has 3 cells where the header has 2"),
        ("a.csv", b'a,b\n"1,2\n3,4\n', "does not parse as CSV"),
        ("a.csv", b"a,a\n1,2\n", "two columns named 'a'"),
        ("a.csv", b"a,b\n1,\xe9\n", "line 2 is not UTF-8"),
        ("a.xlsx", b"", "'.xlsx'"),
    ],
)
def test_what_does_not_parse_is_named_with_its_place(
    tmp_path: Path, name: str, content: bytes, said: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError) as caught:
        cells(tmp_path / name)
    assert said in caught.value.what and name in caught.value.what and caught.value.fix
