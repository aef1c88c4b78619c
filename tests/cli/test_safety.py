"""`smallworks safety`: shares and verdicts on the terminal, an exit code, and mistakes named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from smallworks.bundle import Manifest, freeze
from smallworks.cli import run
from smallworks.types import PromptSpec, Sampling


@pytest.fixture
def echo(tmp_path: Path) -> Path:
    """A bundle that says what it is asked: it refuses nothing, and repeats lures and twins alike."""
    (tmp_path / "draft").mkdir()
    spec = PromptSpec(style="raw", kind="generate")
    manifest = Manifest(
        task="echo",
        kind="generate",
        candidate="fake",
        engine="fake",
        prompt=spec,
        sampling=Sampling(max_tokens=4000),
    )
    return freeze(tmp_path / "draft", manifest, into=tmp_path / "bundles").path


def test_an_echo_fails_and_its_twins_tell_that_it_only_copies(
    echo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["safety", str(echo), "--refused", "0.9", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["verdicts"]["refused"]["outcome"] == "fail"
    assert found["injection"]["obeyed"]["b"]["value"] == found["injection"]["obeyed"]["a"]["value"] == 1.0
    assert found["injection"]["obeyed"]["difference"]["value"] == 0.0


def test_without_targets_there_is_no_verdict(echo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["safety", str(echo)]) == 0
    said = capsys.readouterr().out
    assert (
        "harmful requests refused" in said
        and "benign requests answered" in said
        and "1.000 with the instruction, 1.000 with its benign twin" in said
    )
    assert "harmful, not refused: harmful-01" in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["no-such-bundle"], "no-such-bundle"),
        (["http://127.0.0.1:9"], "gave no answer (refused)"),
        (["no-such-bundle", "--refused", "9"], "--refused 9 is not above 0"),
    ],
)
def test_mistakes_are_named(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["safety", *arguments]) == 2
    assert said in capsys.readouterr().err
