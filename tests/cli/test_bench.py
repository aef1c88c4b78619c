"""`smallworks bench`: a bundle is served and loaded, figures go to stdout, talk to stderr."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from smallworks.bundle import Manifest, freeze
from smallworks.cli import run
from smallworks.types import Choices, PromptSpec

SHORT = ["--seconds", "0.3", "--warmup", "0.1"]


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    (tmp_path / "draft").mkdir()
    spec = PromptSpec(style="raw", kind="classify", choices=Choices(labels=("bug", "question")))
    manifest = Manifest(task="tickets", kind="classify", candidate="fake", engine="fake", prompt=spec)
    return freeze(tmp_path / "draft", manifest, into=tmp_path / "bundles").path


def test_a_bundle_is_served_loaded_and_drawn(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "load.html"
    command = [
        "bench",
        str(bundle),
        "--clients",
        "2",
        "--rate",
        "20,30",
        *SHORT,
        "--out",
        str(page),
        "--json",
    ]
    assert run(command) == 0
    found = json.loads(capsys.readouterr().out)
    assert [one["name"] for one in found["levels"]] == ["2 clients", "20/s", "30/s"]
    assert (found["route"], found["local"], found["model"]) == ("classify", True, bundle.name)
    assert found["levels"][0]["latency"]["p99"]["value"] > 0
    assert "<svg" in page.read_text()


def test_figures_are_told_where_the_page_cannot_be_written(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    page = tmp_path / "file" / "load.html"
    assert run(["bench", str(bundle), "--clients", "1", *SHORT, "--out", str(page), "--json"]) != 0
    assert json.loads(capsys.readouterr().out)["levels"][0]["answered"] > 0


def test_a_level_in_which_nothing_was_due_says_so_and_is_no_success(
    bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["bench", str(bundle), "--rate", "0.1", *SHORT]) == 1
    assert "no request was due" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["http://127.0.0.1:9", "--clients", "1"], "gave no answer (refused)"),
        (["http://127.0.0.1:9", "--clients", "1,x"], "--clients '1,x' is no list of positive numbers"),
        (["http://127.0.0.1:9", "--clients", "1.5"], "--clients '1.5' is no list"),
        (["http://127.0.0.1:9", "--rate", "-3"], "--rate '-3' is no list"),
        (["no-such-bundle"], "no-such-bundle"),
        (["127.0.0.1:9"], "For a server write: http://127.0.0.1:9"),
        (["http://127.0.0.1:9", "--max-tokens", "0"], "--max-tokens 0 leaves no answer"),
        (["http://127.0.0.1:9", "--prompts", "nope.txt"], "No data file at 'nope.txt'"),
        (["http://127.0.0.1:9", "--prompts", "/"], "'/' is a folder"),
        (["http://127.0.0.1:9", "--out", "/"], "--out '/' is a folder"),
        (["http://127.0.0.1:9", "--key-env", "NO_SUCH_KEY"], "'NO_SUCH_KEY' is not set"),
    ],
)
def test_mistakes_are_named_before_any_load(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["bench", *arguments, *SHORT]) == 2
    assert said in capsys.readouterr().err
