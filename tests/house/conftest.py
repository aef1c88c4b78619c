"""What the checks of our own rules share: the repository, and the syntax tree of every module."""

from __future__ import annotations

import ast
import runpy
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def trees() -> dict[str, ast.Module]:
    """Syntax tree of every module of the package, by its path in it, e.g. 'engines/base.py'."""
    source = ROOT / "src" / "smallworks"
    return {
        path.relative_to(source).as_posix(): ast.parse(path.read_text(encoding="utf-8"))
        for path in sorted(source.rglob("*.py"))
    }


@pytest.fixture(scope="session")
def house_map() -> Mapping[str, Any]:
    """The names of scripts/map.py, which holds the floors."""
    return runpy.run_path(str(ROOT / "scripts" / "map.py"))


@pytest.fixture(scope="session")
def tracked() -> list[Path]:
    """Every file that git knows or would add: ignored ones are nobody's business."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if listed.returncode != 0:
        pytest.skip("no git checkout: tracked files cannot be told from others")
    return [path for name in listed.stdout.split("\0") if name and (path := ROOT / name).is_file()]
