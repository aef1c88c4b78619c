"""What README.md and docs/ say of the command line is true: the commands exist, and so do their options."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from smallworks.cli import COMMANDS, app

BLOCK = re.compile(r"^```(?:bash|sh|console|shell)\n(.*?)^```", re.DOTALL | re.MULTILINE)
SPAN = re.compile(r"`((?:smallworks|sw) [^`\n]+)`")
CALL = re.compile(r"^\s*(?:\$ )?(?:[A-Z_]+=\S+ )*(?:smallworks|sw) (.+)$")
OPTION = re.compile(r"(?<![\w-])(--[a-z][a-z-]*)")
EVERYWHERE = {"--help", "--version"}


def pages() -> list[Path]:
    root = Path(__file__).resolve().parents[2]
    found = [root / "README.md", *sorted((root / "docs").rglob("*.md"))]
    return [page for page in found if page.is_file() and page.read_text(encoding="utf-8").strip()]


def calls(page: Path) -> Iterator[str]:
    """Everything on a page that is written as a command of ours, without the program's name."""
    text = page.read_text(encoding="utf-8")
    for block in BLOCK.findall(text):
        for line in block.replace("\\\n", " ").splitlines():
            for part in re.split(r"\s(?:&&|\||;)\s", line.partition(" #")[0]):
                if match := CALL.match(part):
                    yield match.group(1)
    for span in SPAN.findall(BLOCK.sub("", text)):
        yield span.partition(" ")[2]


def options(command: str) -> set[str]:
    """The options that a command takes, by every name."""
    arguments = app()[command].assemble_argument_collection()
    return EVERYWHERE | {name for argument in arguments for name in argument.names}


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_every_command_named_exists(page: Path) -> None:
    words = [call.split()[0] for call in calls(page)]
    unknown = {w for w in words if w not in COMMANDS and w not in EVERYWHERE and w.isidentifier()}
    assert unknown == set()


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_every_option_named_exists(page: Path) -> None:
    wrong = [
        f"smallworks {call}: {option}"
        for call in calls(page)
        if (command := call.split()[0]) in COMMANDS
        for option in OPTION.findall(call)
        if option not in options(command)
    ]
    assert wrong == []


def test_every_command_has_a_page(root: Path) -> None:
    docs = root / "docs"
    there = {page.stem for page in docs.rglob("*.md")} if docs.is_dir() else set()
    if not there & set(COMMANDS):
        pytest.skip("the pages of the commands are not written yet")
    assert set(COMMANDS) <= there


def test_every_make_target_named_exists(root: Path) -> None:
    targets = set(re.findall(r"^([a-z]+):", (root / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = {
        word
        for page in pages()
        for word in re.findall(
            r"`make ([a-z]+)|^make ([a-z]+)", page.read_text(encoding="utf-8"), re.MULTILINE
        )
        for word in word
        if word
    }
    assert named <= targets
