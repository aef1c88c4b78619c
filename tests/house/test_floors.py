"""Imports go down, never up, never to a neighbour. Lazy and type-only ones count, and workers run by name."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from typing import Any

ALLOWED = {
    ("cli/serve.py", "server"): "the command line opens the other door of the same floor",
    ("cli/keys.py", "server"): "the keys are the other door's",
    ("cli/traces.py", "server"): "the traces are the other door's",
    ("recipes/served.py", "cli"): "a bundle is served in a process of its own, as a user would",
    ("child.py", "seams"): "progress is a protocol, and protocols stand on one page",
}
"""Sideways imports with their reason. This list only shrinks."""
FREE = {"__version__"}
"""Names of the package itself that every floor may read."""
MODULE_NAME = re.compile(r"smallworks(\.[a-z_]\w*)+")


def imported(tree: ast.Module) -> Iterator[str]:
    """Full names of all that a module imports from us, or names in a text of its own (a worker)."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Constant) and MODULE_NAME.fullmatch(str(node.value)):
            yield node.value


def crossings(trees: Mapping[str, ast.Module], names: set[str]) -> Iterator[tuple[str, str, str]]:
    """(module, its own package, the package of ours that it imports), the package's own files left out."""
    for path, tree in trees.items():
        own = path.partition("/")[0].removesuffix(".py")
        for name in imported(tree):
            first, _, rest = name.partition(".")
            target = rest.partition(".")[0]
            if first == "smallworks" and target not in {own, *FREE}:
                yield path, own, target if target in names else "__init__"


def test_every_module_has_a_floor(trees: Mapping[str, ast.Module], house_map: Mapping[str, Any]) -> None:
    tops = {path.partition("/")[0].removesuffix(".py") for path in trees} - {"__init__"}
    assert [name for name in sorted(tops) if house_map["floor_of"](name) is None] == []


def test_imports_only_go_down(trees: Mapping[str, ast.Module], house_map: Mapping[str, Any]) -> None:
    floor = {name: f for f, (_, names) in house_map["FLOORS"].items() for name in names}
    # The package's own names are its doors' and nobody else's: they reach every floor below.
    floor["__init__"] = 5.5
    wrong = [
        f"{path} (floor {floor[own]}) imports {target} (floor {floor[target]})"
        for path, own, target in crossings(trees, set(floor))
        if own != "__init__" and floor[target] >= floor[own] and (path, target) not in ALLOWED
    ]
    assert sorted(set(wrong)) == []


def test_the_list_of_exceptions_is_not_stale(
    trees: Mapping[str, ast.Module], house_map: Mapping[str, Any]
) -> None:
    names = {name for _, packages in house_map["FLOORS"].values() for name in packages}
    used = {(path, target) for path, _, target in crossings(trees, names)}
    assert [entry for entry in ALLOWED if entry not in used] == []


def test_words_import_nothing_of_ours(trees: Mapping[str, ast.Module]) -> None:
    for path in ("types.py", "errors.py"):
        assert [name for name in imported(trees[path]) if name.startswith("smallworks")] == []
