"""Records survive the disk, and the worst of them come first."""

from collections.abc import Callable
from pathlib import Path

import pytest

from smallworks.errors import DataError
from smallworks.evaluate import records
from smallworks.evaluate.records import worst
from smallworks.types import Record

Make = Callable[..., list[Record]]


def test_what_was_written_is_read(tmp_path: Path, make: Make) -> None:
    made = make(
        "classify", [("bug", "bug"), ("bug", "Größe 😀\n")], probabilities=[{"bug": 0.9}, {"bug": 0.4}]
    )
    records.write(tmp_path / "r.jsonl", made)
    assert records.read(tmp_path / "r.jsonl") == made


def test_a_line_that_is_no_record_is_named(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.write_text('{"example_id": "a"}\n')
    with pytest.raises(DataError, match="record 1 is not an evaluation record"):
        records.read(path)
    with pytest.raises(DataError, match="No records at"):
        records.read(tmp_path / "absent.jsonl")


def test_confident_mistakes_come_first(make: Make) -> None:
    said = [("bug", "bug"), ("bug", "feature"), ("bug", "feature"), ("bug", "question")]
    chances = [{"bug": 0.99}, {"feature": 0.6}, {"feature": 0.95}, {"question": 0.7}]
    made = make("classify", said, probabilities=chances)
    assert [r.example_id for r in worst(made)] == ["r2", "r3", "r1"]
    assert [r.example_id for r in worst(made, 1)] == ["r2"]


def test_otherwise_the_lowest_scores_come_first(make: Make) -> None:
    made = make("answer", [("one two", "one"), ("one", "one"), ("one", "two")])
    assert [r.example_id for r in worst(made, metric="token_f1")] == ["r2", "r0"]


def test_the_first_record_is_read_without_the_others(tmp_path: Path, make: Make) -> None:
    done = make("classify", [("bug", "bug"), ("bug", "feature")])
    records.write(tmp_path / "r.jsonl", done)
    with (tmp_path / "r.jsonl").open("a") as file:
        file.write("broken\n")
    assert records.first(tmp_path / "r.jsonl") == done[:1]
    (tmp_path / "none.jsonl").write_text("")
    assert records.first(tmp_path / "none.jsonl") == []
