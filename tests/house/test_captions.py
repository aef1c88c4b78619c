"""Every module begins with one line that says what it is for, and the map is made of those lines."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def test_every_module_has_a_caption(trees: Mapping[str, ast.Module]) -> None:
    docstrings = {path: ast.get_docstring(tree) or "" for path, tree in trees.items()}
    captions = {path: text.partition("\n")[0] for path, text in docstrings.items()}
    assert [path for path, line in captions.items() if not line.endswith((".", ":", "?"))] == []


def test_a_caption_is_one_line(trees: Mapping[str, ast.Module]) -> None:
    docstrings = {path: (ast.get_docstring(tree) or "").splitlines() for path, tree in trees.items()}
    assert [path for path, lines in docstrings.items() if len(lines) > 1 and lines[1]] == []


def test_every_test_file_says_what_it_shows(root: Path) -> None:
    files = sorted((root / "tests").rglob("*.py"))
    silent = [f for f in files if not ast.get_docstring(ast.parse(f.read_text(encoding="utf-8")))]
    assert [f.relative_to(root).as_posix() for f in silent] == []


def test_the_map_is_up_to_date(root: Path, house_map: Mapping[str, Any]) -> None:
    page = root / "docs" / "map.md"
    assert page.is_file(), "write it with: make docs"
    assert page.read_text(encoding="utf-8") == house_map["text"](), "write it anew with: make docs"


def test_the_map_names_every_module(root: Path, trees: Mapping[str, ast.Module]) -> None:
    page = (root / "docs" / "map.md").read_text(encoding="utf-8")
    assert [path for path in trees if f"| `{path}` |" not in page] == []
