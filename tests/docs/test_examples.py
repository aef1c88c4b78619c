"""The examples in README.md and docs/ work: Python runs, task files load, links lead somewhere."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from smallworks.server.config import load as load_config
from smallworks.taskfile import load_task

ROOT = Path(__file__).resolve().parents[2]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
KINDS = {
    "bug": "crashes when I save the invoice",
    "feature": "please add a dark mode to the schedule",
    "question": "how do I invite a colleague",
}


def blocks(language: str, pages: list[Path]) -> Iterator[tuple[Path, str]]:
    fence = re.compile(rf"^```{language}\n(.*?)^```", re.DOTALL | re.MULTILINE)
    for page in pages:
        yield from ((page, block) for block in fence.findall(page.read_text(encoding="utf-8")))


def tiny_task(folder: Path) -> None:
    """Thirty short tickets under the name that the page uses."""
    rows = [{"text": f"{text}, case {n}", "label": label} for n in range(10) for label, text in KINDS.items()]
    folder.mkdir()
    (folder / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    head = '[task]\nname = "tickets"\nkind = "classify"\ninstruction = "Name the kind."\n'
    (folder / "task.toml").write_text(f'{head}[data]\ntrain = "train.jsonl"\n', encoding="utf-8")


def test_the_python_page_runs_from_top_to_bottom(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny_task(tmp_path / "tickets")
    monkeypatch.chdir(tmp_path)
    page = ROOT / "docs" / "python.md"
    names: dict[str, Any] = {}
    for number, (_, block) in enumerate(blocks("python", [page]), 1):
        exec(compile(block, f"{page.name}, example {number}", "exec"), names)
    said = capsys.readouterr().out
    assert "linear" in said and "feature" in said and "exact McNemar" in said


EXAMPLES = [(page, block, tomllib.loads(block)) for page, block in blocks("toml", PAGES)]
TASKS = [pytest.param(block, id=page.stem) for page, block, raw in EXAMPLES if "task" in raw]
SERVES = [pytest.param(b, id=page.stem) for page, b, raw in EXAMPLES if not {"task", "rule"} & raw.keys()]
"""Policies, which hold rules, are loaded by tests/guard."""


@pytest.mark.parametrize("block", SERVES)
def test_a_serve_file_in_the_documentation_loads(block: str, tmp_path: Path) -> None:
    (tmp_path / "serve.toml").write_text(block, encoding="utf-8")
    assert load_config(tmp_path / "serve.toml") != load_config(None)


@pytest.mark.parametrize("block", TASKS)
def test_a_task_file_in_the_documentation_loads(block: str, tmp_path: Path) -> None:
    raw = tomllib.loads(block)
    named = [raw["data"].get(part) for part in ("train", "validation", "test", "synthetic")]
    named.append(raw.get("flagship", {}).get("answers"))
    if folder := raw["data"].get("documents"):
        (tmp_path / folder).mkdir()
    for name in filter(None, named):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}\n", encoding="utf-8")
    (tmp_path / "task.toml").write_text(block, encoding="utf-8")
    assert load_task(tmp_path).name == raw["task"]["name"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_link_to_a_file_leads_somewhere(page: Path) -> None:
    targets = [target.partition("#")[0] for target in LINK.findall(page.read_text(encoding="utf-8"))]
    here = [target for target in targets if target and "://" not in target]
    assert [target for target in here if not (page.parent / target).exists()] == []


@pytest.mark.slow
def test_the_tutorial_shows_what_the_quick_look_measures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, here: Callable[[], AbstractContextManager[None]]
) -> None:
    import smallworks as sw
    from smallworks.recipes.build import Options

    monkeypatch.chdir(tmp_path)
    with here():
        table = sw.build(sw.load_task("tickets"), Options(only=("majority", "linear")))
    page = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
    for row in table.rows:
        found = re.search(rf"^..{row.name}\s+(0\.\d+) ", page, re.MULTILINE)
        assert found and row.metric and abs(float(found[1]) - row.metric.value) < 0.01
