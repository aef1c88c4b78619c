"""`init` writes a task file that lacks only the rows."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest

from smallworks import data
from smallworks.errors import TaskError, UserError
from smallworks.recipes.init import STARTS, init
from smallworks.taskfile import SECTIONS, load_task
from smallworks.types import KINDS, Kind


@pytest.mark.parametrize("kind", KINDS)
def test_the_file_lacks_only_its_rows(tmp_path: Path, kind: Kind) -> None:
    path = init(tmp_path / "tickets", kind)
    tomllib.loads(path.read_text(encoding="utf-8"))
    with pytest.raises(TaskError, match=r"\[data\] train = 'data/train.jsonl': there is no file"):
        load_task(path)
    start = STARTS[kind].row
    rows = [{**start, next(iter(start)): f"row {i}"} for i in range(20)]
    if kind == "classify":
        rows += [{**row, "label": "idea", "text": f"idea {i}"} for i, row in enumerate(rows)]
    (path.parent / "data" / "train.jsonl").write_text("\n".join(map(json.dumps, rows)))
    task = load_task(path)
    assert (task.name, task.kind) == ("tickets", kind) and task.targets.at_least is not None
    assert not data.load(task).report.errors


@pytest.mark.parametrize("kind", KINDS)
def test_every_key_is_shown_and_true_when_uncommented(tmp_path: Path, kind: Kind) -> None:
    path = init(tmp_path, kind)
    lines = path.read_text(encoding="utf-8").splitlines()
    shown = [line.removeprefix("# ") for line in lines if " = " in line or line.lstrip("# ").startswith("[")]
    sections = tomllib.loads("\n".join(shown))
    scope = {"out_of_scope", "in_scope_loss"}
    answers = {"refusal", "documents", "document"}
    own = {"classify": {"labels", *scope}, "extract": {"schema"}, "answer": answers}
    special = {"labels", "schema", *scope, *answers} - own.get(kind, set())
    assert sections.keys() == SECTIONS.keys()
    for name, keys in SECTIONS.items():
        assert sections[name].keys() == keys.keys() - special, name


def test_a_task_file_is_never_overwritten_unasked(tmp_path: Path) -> None:
    path = init(tmp_path, "classify")
    path.write_text("mine")
    with pytest.raises(UserError, match="exists already"):
        init(tmp_path, "generate")
    assert path.read_text() == "mine"
    assert init(tmp_path, "generate", force=True).read_text() != "mine"


def test_the_row_that_the_readme_shows_is_the_kinds_own(tmp_path: Path) -> None:
    init(tmp_path, "answer")
    assert '"question": "When do you open?"' in (tmp_path / "data" / "README.md").read_text(encoding="utf-8")


def test_other_files_of_the_user_are_kept(tmp_path: Path) -> None:
    (tmp_path / "schema.json").write_text("{}")
    init(tmp_path, "extract")
    assert (tmp_path / "schema.json").read_text() == "{}"


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tickets").write_text("")
    with pytest.raises(UserError, match="is a file"):
        init(tmp_path / "tickets", "classify")


def test_a_folder_of_any_name_gives_a_valid_file(tmp_path: Path) -> None:
    assert 'name = "a-b---c"' in init(tmp_path / 'a b"\\.c', "classify").read_text(encoding="utf-8")
