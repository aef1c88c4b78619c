"""`smallworks recommend` as a user types it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from smallworks.cli import run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rows = [json.dumps({"input": f"note {n}", "output": '{"n": 1}'}) for n in range(90)]
    (tmp_path / "train.jsonl").write_text("\n".join(rows) + "\n")
    head = '[task]\nname = "t"\nkind = "extract"\ninstruction = "Do it."\nschema = { type = "object" }\n'
    (tmp_path / "task.toml").write_text(f'{head}[data]\ntrain = "train.jsonl"\n')
    return tmp_path


def test_the_list_the_reasons_and_the_next_command_are_shown(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["recommend", str(folder), "--ram", "8GB", "--licence", "commercial", "--top", "2"]) == 0
    printed = capsys.readouterr()
    assert "advice   a small language model" in printed.out
    assert "ruled out:" in printed.out and "licence: Qwen Research License" in printed.out
    assert printed.out.count(" GB as ") >= 2 and "encoders" not in printed.out
    assert "next    smallworks build" in printed.err


def test_the_sample_task_is_built_by_its_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["recommend", "tickets", "--ram", "8GB", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["next"].startswith("smallworks build tickets ")


def test_all_names_every_model_that_is_out(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["recommend", str(folder), "--device", "phone", "--all"]) == 0
    said = capsys.readouterr().out
    assert "microsoft/phi-4: memory:" in said and "not to be tuned on this machine" in said


def test_json_is_one_document_with_everything(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["recommend", str(folder), "--gpu", "8 GB", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["advice"]["route"] == "language model" and said["machine"]["name"] == "a GPU of 8 GB"
    assert {"bases", "encoders", "ruled_out", "needs", "next", "remarks"} <= set(said)
    assert said["bases"][0]["entry"]["licence"] and said["bases"][0]["reasons"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--licence", "comercial"], "Did you mean 'commercial'"),
        (["--gpu", "much"], "--gpu 'much' is not a size"),
        (["--device", "toaster"], "--device 'toaster' is not known. Valid: phone, laptop, board."),
        (["--top", "0"], "--top 0 shows none"),
        (["--top", "-3"], "--top -3 shows none"),
        (["--ram", "4GB", "--catalogue", "absent.toml"], "no catalogue file 'absent.toml'"),
    ],
)
def test_a_mistake_is_named_and_ends_with_two(
    folder: Path, options: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["recommend", str(folder), *options]) == 2
    assert said in capsys.readouterr().err
