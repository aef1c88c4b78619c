"""Write docs/map.md: every module with its first docstring line, floor by floor. `--check` only compares.

Reads the source without importing it. The floors are those that tests/house/test_floors.py enforces.
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "smallworks"
MAP = ROOT / "docs" / "map.md"
FLOORS: dict[int, tuple[str, tuple[str, ...]]] = {
    6: ("doors", ("cli", "server", "console")),
    5: ("journeys", ("recipes",)),
    4: (
        "stages",
        ("select", "data", "tune", "evaluate", "compress", "guard", "route", "monitor", "registry"),
    ),
    3: ("machinery", ("engines",)),
    2: ("the format", ("bundle", "prompt", "rag", "starter")),
    1: ("joints", ("seams", "settings", "files", "child", "taskfile", "postgresql", "text")),
    0: ("words", ("types", "errors")),
}
"""Floor → its name and its packages or modules. Imports go down; neighbours never import each other."""
HEAD = """\
# Map

Every module with its own first line, from the doors down to the words. Imports only go down, and packages
on one floor never import each other: `tests/house/test_floors.py` checks both. Written by `make docs`.
"""


def floor_of(name: str) -> int | None:
    """The floor of a top-level package or module of ours, e.g. 'engines' → 3."""
    return next((floor for floor, (_, names) in FLOORS.items() if name in names), None)


def modules() -> list[Path]:
    """Every module of the package, sorted, as paths relative to the package."""
    return sorted(path.relative_to(SOURCE) for path in SOURCE.rglob("*.py"))


def caption(path: Path) -> str:
    """The first line of a module's docstring; empty where there is none."""
    docstring = ast.get_docstring(ast.parse((SOURCE / path).read_text(encoding="utf-8"))) or ""
    return docstring.partition("\n")[0]


def text() -> str:
    """The whole page."""
    parts = [HEAD, _table("The package", [path for path in modules() if path.parts == ("__init__.py",)])]
    for floor, (name, names) in FLOORS.items():
        here = [path for path in modules() if path.parts[0].removesuffix(".py") in names]
        here.sort(key=lambda path: (names.index(path.parts[0].removesuffix(".py")), path.as_posix()))
        parts.append(_table(f"Floor {floor}: {name}", here))
    return "\n".join(parts)


def _table(title: str, paths: list[Path]) -> str:
    rows = [f"| `{path.as_posix()}` | {caption(path).replace('|', chr(92) + '|')} |" for path in paths]
    return "\n".join([f"## {title}", "", "| module | what it is for |", "|---|---|", *rows, ""])


def main(arguments: list[str]) -> int:
    if "--check" not in arguments:
        MAP.parent.mkdir(exist_ok=True)
        MAP.write_text(text(), encoding="utf-8")
        return 0
    if MAP.is_file() and MAP.read_text(encoding="utf-8") == text():
        return 0
    sys.stderr.write("docs/map.md is out of date. Write it anew with: make docs\n")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
