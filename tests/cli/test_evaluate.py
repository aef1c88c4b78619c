"""`smallworks evaluate` on a task of kind `answer`: who answered, who abstained, in figures and in counts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from smallworks.bundle import Manifest, freeze
from smallworks.cli import run
from smallworks.types import REFUSAL, Columns, PromptSpec

TASK = """
[task]
name = "echo"
kind = "answer"
instruction = "Say it."
refusal = "Not stated."
[data]
train = "rows.jsonl"
test = "test.jsonl"
"""


def rows(path: Path, refusal: str) -> Path:
    """(said, expected): the bundle says what it is asked."""
    pairs = [("Paris", "Paris"), (refusal, "Rome"), (refusal, refusal), ("Lyon", refusal), ("Oslo", refusal)]
    path.write_text("".join(json.dumps({"input": said, "output": due}) + "\n" for said, due in pairs))
    return path


def frozen(tmp_path: Path, columns: Columns = Columns()) -> Path:  # noqa: B008
    """A bundle that answers with its input."""
    manifest = Manifest(
        task="echo",
        kind="answer",
        candidate="fake",
        engine="fake",
        prompt=PromptSpec(style="raw", kind="answer"),
        columns=columns,
    )
    (tmp_path / "draft").mkdir()
    return freeze(tmp_path / "draft", manifest, into=tmp_path / "bundles").path


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return frozen(tmp_path)


def test_answers_and_refusals_are_told_apart(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = rows(tmp_path / "new.jsonl", REFUSAL)
    assert run(["evaluate", str(bundle), str(file), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["abstention"] == {
        "answerable": {"answered": 1, "abstained": 1},
        "unanswerable": {"answered": 2, "abstained": 1},
    }
    metrics = {name: (e["value"], e["n"]) for name, e in found["metrics"].items()}
    assert metrics["answered_f1"] == (0.5, 2)
    assert metrics["abstained"] == (pytest.approx(1 / 3), 3) and metrics["abstained_wrongly"] == (0.5, 2)


def test_the_counts_stand_on_the_terminal(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["evaluate", str(bundle), str(rows(tmp_path / "new.jsonl", REFUSAL))]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["answered", "abstained"] in lines
    assert ["answerable", "1", "1"] in lines and ["unanswerable", "2", "1"] in lines


def test_the_task_beside_the_bundle_names_the_refusal(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "task.toml").write_text(TASK)
    for name in ("rows.jsonl", "test.jsonl", "new.jsonl"):
        rows(tmp_path / name, "Not stated.")
    assert run(["evaluate", str(bundle), str(tmp_path / "new.jsonl"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["abstention"]["unanswerable"] == {
        "answered": 2,
        "abstained": 1,
    }


def test_rows_of_one_customer_count_together_where_the_file_names_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = frozen(tmp_path, columns=Columns(input="input", output="output", group="customer"))
    file = tmp_path / "new.jsonl"
    said = [{"input": "a", "output": "a" if i % 20 else "b", "customer": f"c{i // 10}"} for i in range(60)]
    file.write_text("".join(json.dumps(row) + "\n" for row in said))
    assert run(["evaluate", str(bundle), str(file), "--out", str(tmp_path / "records.jsonl")]) == 0
    assert "The 60 test rows are in 6 groups" in " ".join(capsys.readouterr().out.split())
    assert run(["gate", str(tmp_path / "records.jsonl"), "--metric", "exact_match", "--at-least", "0.5"]) == 0
    assert "on 60 rows in 6 groups: 0.5 or better is shown" in capsys.readouterr().out
    file.write_text(
        "".join(json.dumps({"input": row["input"], "output": row["output"]}) + "\n" for row in said)
    )
    assert run(["evaluate", str(bundle), str(file), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["metrics"]["exact_match"]["groups"] is None


def test_a_gate_does_not_ask_for_more_wrong_refusals(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, kept = rows(tmp_path / "new.jsonl", REFUSAL), tmp_path / "records.jsonl"
    assert run(["evaluate", str(bundle), str(file), "--out", str(kept)]) == 0
    assert run(["gate", str(kept), "--metric", "abstained", "--at-least", "0.99"]) == 1
    assert run(["gate", str(kept), "--metric", "abstained_wrongly", "--at-least", "0.1"]) == 2
    assert "better when it is lower" in capsys.readouterr().err
