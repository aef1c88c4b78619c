"""Every claim is listed with what it shows and its goal, and ends with one JSON object."""

from __future__ import annotations

import importlib
import inspect
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from benchmarks.claim import NAMES, Finding, Skipped, document

from benchmarks import __main__ as door

FOLDER = Path(door.__file__).parent
KEYS = {"name", "value", "unit", "goal", "holds", "against", "machine"}


def claims() -> set[str]:
    """Names of the files here that measure something."""
    return {path.stem for path in FOLDER.glob("*.py") if "def measure(" in path.read_text(encoding="utf-8")}


def test_every_claim_is_listed() -> None:
    assert sorted(NAMES) == sorted(claims())


@pytest.mark.parametrize("name", NAMES)
def test_a_claim_says_what_it_shows_and_what_it_does_not_cover(name: str) -> None:
    module = importlib.import_module(f"benchmarks.{name}")
    text = inspect.getdoc(module) or ""
    assert module.GOAL and module.UNIT
    assert [part for part in ("Measured:", "Not covered:") if part not in text] == []
    assert "No peer" in text or "against" in text.lower()


def test_the_list_names_them_all(capsys: pytest.CaptureFixture[str]) -> None:
    assert door.main(["list"]) == 0
    said = capsys.readouterr().out
    assert [name for name in NAMES if name not in said] == []


def test_the_last_line_is_one_json_object() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "benchmarks", "startup"],
        cwd=FOLDER.parent,
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(ran.stdout.splitlines()[-1])
    assert set(found) >= KEYS
    assert found["name"] == "startup" and found["value"] > 0
    assert found["machine"].keys() >= {"cpu", "cores", "memory_gb", "python", "versions"}


def module_that(measure: object) -> ModuleType:
    module = ModuleType("a_claim")
    module.UNIT, module.GOAL, module.measure = "s", "≤ 1 s", measure  # type: ignore[attr-defined]
    return module


def test_a_claim_that_cannot_be_measured_here_says_why() -> None:
    def measure(say: object) -> Finding:
        raise Skipped("no encoder")

    found = document("x", module_that(measure), print)
    assert set(found) >= KEYS
    assert (found["value"], found["holds"], found["skipped"]) == (None, None, "no encoder")


def test_a_measured_claim_brings_its_peer_and_details() -> None:
    finding = Finding(value=0.5, holds=True, against={"name": "a peer"}, details={"rows": 3})
    found = document("x", module_that(lambda say: finding), print)
    assert (found["value"], found["holds"], found["against"]) == (0.5, True, {"name": "a peer"})
    assert found["details"] == {"rows": 3}
