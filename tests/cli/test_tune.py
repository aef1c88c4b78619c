"""`smallworks tune` as a user types it: what is shown, what is refused, what is left."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from smallworks import starter
from smallworks.bundle import open_bundle
from smallworks.cli import run
from smallworks.cli.tune import _coloured, _seconds
from smallworks.recipes.tune import Segment


@pytest.fixture(autouse=True)
def workers(here: Callable[[], AbstractContextManager[None]]) -> Iterator[None]:
    """The training in this process: tests/tune/test_run.py shows that its child does the same."""
    with here():
        yield


@pytest.fixture
def task(tmp_path: Path) -> Path:
    """The sample task with a tenth of its rows."""
    folder = tmp_path / "tickets"
    shutil.copytree(starter.TASKS["tickets"], folder)
    for name in ("train.csv", "test.csv"):
        shutil.copyfile(starter.TASKS["tickets"] / "test.csv", folder / name)
    lines = (folder / "task.toml").read_text().split("[flagship]")[0]
    (folder / "task.toml").write_text(lines.replace('test = "test.csv"\n', ""))
    return folder


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--budget", "soon"], "--budget 'soon' is not a time"),
        (["--budget", "0m"], "not a time"),
        (["--budget", "5m", "--epochs", "2"], "both set the epochs"),
        (["--method", "full", "--rank", "4"], "--rank 4 has no meaning"),
    ],
)
def test_a_wrong_option_exits_with_2_and_says_which(
    task: Path, arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["tune", str(task), *arguments]) == 2
    printed = capsys.readouterr()
    assert said in printed.err and printed.out == ""
    assert not (task / ".smallworks").exists()


def test_an_unknown_method_exits_with_2(task: Path) -> None:
    assert run(["tune", str(task), "--method", "prefix"]) == 2


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("10m", 600), ("1.5h", 5400), (None, None)])
def test_a_budget_is_a_number_with_a_unit(text: str | None, seconds: float | None) -> None:
    assert _seconds(text, None) == seconds


def test_supervised_text_is_coloured_and_a_long_prompt_is_cut_in_its_middle() -> None:
    row = (Segment(text="begin" + "x" * 900 + "\nend", supervised=False), Segment(text="A", supervised=True))
    shown = _coloured(row)
    assert shown.plain.startswith("  begin") and " … " in shown.plain and shown.plain.endswith("↵endA")
    assert [shown.plain[span.start : span.end] for span in shown.spans if "green" in str(span.style)] == ["A"]


@pytest.mark.slow
def test_a_dry_run_shows_what_it_will_learn_from_and_tunes_nothing(
    task: Path, tiny_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = ["--base", str(tiny_folder)]
    assert run(["tune", str(task), *base, "--dry-run", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["candidate"] == "lm-lora" and document["bundle"] is None
    assert [piece["supervised"] for piece in document["rows"][0]] == [False, True]
    assert document["memory"]["total"] < document["free_bytes"] and document["seconds"] > 0
    assert not (task / "bundles").exists()
    assert run(["tune", str(task), *base, "--dry-run"]) == 0
    printed = capsys.readouterr().out
    assert "<|im_end|>" in printed and "too long" in printed and "tokens/s" in printed


@pytest.mark.slow
def test_a_tuned_bundle_opens(task: Path, tiny_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--base", str(tiny_folder), "--method", "full", "--epochs", "1", "--json"]
    assert run(["tune", str(task), *options]) == 0
    document = json.loads(capsys.readouterr().out)
    assert open_bundle(document["bundle"]).manifest.candidate == document["candidate"] == "lm-full"
    assert document["tuned"]["steps"] == document["steps"]
