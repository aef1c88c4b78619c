"""Each page of docs/commands names what its command's `--help` shows, and nothing else."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from smallworks.cli import COMMANDS, app

PAGES = Path(__file__).resolve().parents[2] / "docs" / "commands"
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*")
NEGATIVE = re.compile(r"--(no|empty)-")
"""`--no-json` beside `--json` says nothing more, so pages leave it out."""
ROW = re.compile(r"^\| `(--[a-z-]+|[A-Z]+)\b", re.MULTILINE)


def shown(command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("COLUMNS", "200")
    app()([command, "--help"])
    return capsys.readouterr().out


def named(command: str) -> set[str]:
    """Options and arguments in the first column of the page's tables."""
    return set(ROW.findall((PAGES / f"{command}.md").read_text(encoding="utf-8")))


@pytest.mark.parametrize("command", COMMANDS)
def test_a_page_names_every_option_and_no_other(
    command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {o for o in OPTION.findall(shown(command, capsys, monkeypatch)) if not NEGATIVE.match(o)}
    assert {name for name in named(command) if name.startswith("--")} == options


@pytest.mark.parametrize("command", COMMANDS)
def test_a_page_names_every_argument_and_no_other(command: str) -> None:
    collection = app()[command].assemble_argument_collection()
    named_by_place = {name for argument in collection for name in argument.names if not name.startswith("-")}
    arguments = named_by_place - {"*"}  # options that a class of their own holds
    assert {name for name in named(command) if not name.startswith("--")} == arguments


@pytest.mark.parametrize("command", COMMANDS)
def test_a_page_begins_with_the_command_and_an_example(command: str) -> None:
    title, _, body = (PAGES / f"{command}.md").read_text(encoding="utf-8").partition("\n")
    assert title == f"# smallworks {command}"
    assert re.match(rf"\s*```bash\n(.*\| )?smallworks {command}\b", body)


def test_there_is_no_page_for_what_is_no_command() -> None:
    assert {page.stem for page in PAGES.glob("*.md")} == set(COMMANDS)
