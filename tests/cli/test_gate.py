"""The gate as CI sees it: an exit code, one sentence, one JSON document."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from smallworks.cli import run
from smallworks.evaluate import records
from smallworks.evaluate.parse import parse
from smallworks.evaluate.scores import score_row
from smallworks.types import ExampleId, Record

Write = Callable[..., Path]


def record(i: int, right: bool) -> Record:
    parsed = parse("classify", "bug" if right else "feature", labels=("bug", "feature"))
    return Record(
        example_id=ExampleId(f"r{i}"),
        prompt_hash="",
        expected="bug",
        raw=parsed.strict or "",
        parsed=parsed.strict,
        lenient=parsed.lenient,
        scores=score_row("classify", parsed, "bug"),
        tokens_in=1,
        tokens_out=1,
        ms=1.0,
    )


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """`write(name, n, wrong)`: n records of which those of the given rows are wrong."""

    def write(name: str, n: int, wrong: Sequence[int] = ()) -> Path:
        path = tmp_path / f"{name}.jsonl"
        records.write(path, [record(i, i not in set(wrong)) for i in range(n)])
        return path

    return write


@pytest.mark.parametrize(
    ("wrong", "code", "outcome"), [(5, 0, "pass"), (40, 1, "fail"), (16, 3, "inconclusive")]
)
def test_one_candidate_passes_fails_or_waits(
    write: Write, capsys: pytest.CaptureFixture[str], wrong: int, code: int, outcome: str
) -> None:
    assert run(["gate", str(write("a", 200, range(wrong))), "--at-least", "0.9"]) == code
    said = capsys.readouterr().out
    assert said.startswith(f"{outcome}: accuracy ") and len(said.splitlines()) == 1
    assert ("more test rows would settle it" in said) == (outcome == "inconclusive")


@pytest.mark.parametrize(
    ("wrong", "code", "outcome"),
    [(range(10), 0, "pass"), (range(60), 1, "fail"), (range(8, 24), 3, "inconclusive")],
)
def test_two_are_judged_on_the_rows_where_they_differ(
    write: Write, capsys: pytest.CaptureFixture[str], wrong: range, code: int, outcome: str
) -> None:
    base, new = write("base", 400, range(10)), write("new", 400, wrong)
    arguments = ["gate", str(new), "--against", str(base), "--margin", "0.02"]
    assert run(arguments) == code
    assert capsys.readouterr().out.startswith(f"{outcome}: accuracy of new.jsonl minus base.jsonl ")
    assert run([*arguments, "--json"]) == code
    document = json.loads(capsys.readouterr().out)
    assert (document["verdict"]["outcome"], document["margin"]) == (outcome, 0.02)
    assert document["comparison"]["difference"]["n"] == 400 and document["estimate"] is None


def test_the_metric_may_be_any_of_the_kind(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    a = write("a", 200, range(2))
    assert run(["gate", str(a), "--metric", "micro_f1", "--at-least", "0.9", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["metric"] == "micro_f1"


@pytest.mark.parametrize(
    ("arguments", "values"),
    [
        ([], ["no target for accuracy", "--at-least"]),
        (["--at-least", "90"], ["--at-least 90", "0.9"]),
        (["--at-least", "nan"], ["nan"]),
        (["--margin", "0.02"], ["--margin 0.02", "--against"]),
        (["--against", "a.jsonl", "--margin", "2"], ["--margin 2", "0.02"]),
        (["--against", "a.jsonl", "--at-least", "0.9"], ["--at-least 0.9", "--against"]),
        (["--against", "nowhere"], ["nowhere"]),
        (["--at-least", "0.9", "--metric", "acuracy"], ["'acuracy'", "'accuracy'"]),
        (["--at-least", "0.9", "--data", "rows.csv"], ["rows.csv"]),
    ],
)
def test_what_makes_no_question_exits_with_2(
    write: Write,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    values: list[str],
) -> None:
    write("a", 20)
    monkeypatch.chdir(tmp_path)
    assert run(["gate", "a.jsonl", *arguments]) == 2
    said = capsys.readouterr()
    assert [value for value in values if value not in said.err] == [] and said.out == ""


def test_rows_that_come_twice_or_never_are_refused(
    write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    twice, empty = tmp_path / "twice.jsonl", tmp_path / "empty.jsonl"
    records.write(twice, [record(0, True), record(0, True)])
    empty.write_text("")
    for path, said in ((twice, "'r0' more than once"), (empty, "no records")):
        assert run(["gate", str(path), "--at-least", "0.9"]) == 2
        assert said in capsys.readouterr().err


def test_two_records_files_are_compared_without_a_bundle(
    write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["compare", str(write("a", 50)), str(write("b", 50, [3])), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["only_a"] == 1
