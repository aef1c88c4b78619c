"""What is known of a file's rows: from the bundle itself, and from the task beside it if that is its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from smallworks.bundle import Bundle, Manifest, freeze
from smallworks.bundle.manifest import Stage
from smallworks.recipes.cascade import mark_of
from smallworks.recipes.examine import asked, labelled_rows, outside_rows
from smallworks.types import REFUSAL, Choices, Kind, PromptSpec

TOML = """
[task]
name = "{name}"
kind = "{kind}"
instruction = "Say it."
{task}
[data]
train = "train.jsonl"
{data}
[targets]
at_least = 0.5
"""
SCOPED: dict[str, Any] = {"kind": "classify", "task": "", "data": 'out_of_scope = "none"'}


def beside(folder: Path, *, name: str = "t", **said: Any) -> None:
    (folder / "task.toml").write_text(TOML.format(name=name, **said), encoding="utf-8")


def bundle(folder: Path, kind: Kind, **own: Any) -> Bundle:
    """A bundle of the task 't' that answers with its input, where a build of `folder` would put it."""
    (folder / "draft").mkdir(exist_ok=True)
    (folder / "train.jsonl").write_text(json.dumps({"input": "x", "output": "b"}) + "\n", encoding="utf-8")
    choices = Choices(labels=("a", "b", "none")) if kind == "classify" else None
    spec = PromptSpec(style="raw", kind=kind, choices=choices)
    manifest = Manifest(task="t", kind=kind, candidate="c", engine="fake", prompt=spec, **own)
    return freeze(folder / "draft", manifest, into=folder / "bundles")


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    pairs = [("x", "a"), ("y", "b"), ("z", "none")]
    path = tmp_path / "new.jsonl"
    path.write_text("".join(json.dumps({"input": i, "output": o}) + "\n" for i, o in pairs), encoding="utf-8")
    return path


def test_the_mark_is_that_of_the_bundle_wherever_it_lies(tmp_path: Path, rows: Path) -> None:
    marked = bundle(tmp_path, "classify", out_of_scope="none")
    assert [e.output for e in labelled_rows(marked, rows)[1]] == ["a", "b"]
    assert outside_rows(marked, rows) == ()  # it keeps nothing back, so there is nothing to measure
    plain = bundle(tmp_path, "classify")
    assert plain.id != marked.id and mark_of(plain) is None


def test_the_mark_of_a_stage_is_that_of_its_cascade(tmp_path: Path) -> None:
    marked = bundle(tmp_path, "classify", out_of_scope="none")
    (tmp_path / "whole" / "stages").mkdir(parents=True)
    marked.path.rename(tmp_path / "whole" / "stages" / "1")
    stage = Stage(name="c", path="stages/1", id=marked.id)
    spec = PromptSpec(style="raw", kind="classify")
    manifest = Manifest(
        task="t", kind="classify", candidate="k", engine="cascade", prompt=spec, stages=(stage,)
    )
    assert mark_of(Bundle(path=tmp_path / "whole", id=marked.id, manifest=manifest)) == "none"


@pytest.mark.parametrize(("name", "kept"), [("t", 2), ("another", 3)])
def test_an_older_bundle_takes_the_mark_of_its_own_task(
    tmp_path: Path, rows: Path, name: str, kept: int
) -> None:
    made = bundle(tmp_path, "classify")
    beside(tmp_path, name=name, **SCOPED)
    assert len(labelled_rows(made, rows)[1]) == kept
    assert asked(made.path, rows=rows)[1].at_least == (0.5 if name == "t" else None)


@pytest.mark.parametrize("kind", ["classify", "answer"])
def test_a_broken_task_file_above_a_bundle_is_passed_over(tmp_path: Path, rows: Path, kind: Kind) -> None:
    made = bundle(tmp_path, kind)
    (tmp_path / "task.toml").write_text("[tool\n", encoding="utf-8")
    task, examples, _ = labelled_rows(made, rows)
    assert len(examples) == 3 and task.refusal == REFUSAL


def test_documents_that_are_gone_are_still_what_answers_rest_on(tmp_path: Path, rows: Path) -> None:
    made = bundle(tmp_path, "answer")
    beside(tmp_path, kind="answer", task='refusal = "Not there."', data='documents = "gone"')
    task, _, _ = labelled_rows(made, rows)
    assert task.data.documents is not None and task.refusal == "Not there."
