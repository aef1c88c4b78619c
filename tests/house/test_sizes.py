"""Short functions, short files: the longest one tells houses apart."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import pytest

LONGEST_FUNCTION = 59
LONGEST_FILE = 499
MEDIAN_FUNCTION = 20
FOLDERS = ("src", "tests", "benchmarks", "scripts")


@dataclass(frozen=True)
class Module:
    path: Path
    lines: int
    functions: list[tuple[str, int]]


@pytest.fixture(scope="module")
def modules(root: Path) -> dict[str, Module]:
    """Every module of ours by its path from the root, with the lines of its functions."""
    found = {}
    for path in (path for folder in FOLDERS for path in sorted((root / folder).rglob("*.py"))):
        text = path.read_text(encoding="utf-8")
        name = path.relative_to(root).as_posix()
        found[name] = Module(path, len(text.splitlines()), list(functions(ast.parse(text))))
    return found


def functions(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Name and lines of every function, the docstring left out: explaining is not penalised."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0]
            told = first if ast.get_docstring(node) is not None else None
            explained = told.end_lineno - told.lineno + 1 if told and told.end_lineno else 0
            yield node.name, (node.end_lineno or node.lineno) - node.lineno + 1 - explained


def test_no_function_is_long(modules: dict[str, Module]) -> None:
    long = [
        f"{name}: {function} has {lines} lines"
        for name, module in modules.items()
        for function, lines in module.functions
        if lines > LONGEST_FUNCTION
    ]
    assert long == []


def test_no_file_is_long(modules: dict[str, Module]) -> None:
    assert [f"{name}: {m.lines} lines" for name, m in modules.items() if m.lines > LONGEST_FILE] == []


@pytest.mark.parametrize("folder", ["src/", "tests/"])
def test_the_usual_function_is_short(modules: dict[str, Module], folder: str) -> None:
    here = [module for name, module in modules.items() if name.startswith(folder)]
    assert median(lines for module in here for _, lines in module.functions) <= MEDIAN_FUNCTION


def test_no_file_is_named_for_everything_and_nothing(modules: dict[str, Module]) -> None:
    vague = {"utils", "util", "helpers", "helper", "common", "misc", "core"}
    assert [name for name, module in modules.items() if module.path.stem in vague] == []
