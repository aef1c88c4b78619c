"""Rows of a teacher: trained on, never held out, and none that a held-out part has."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from smallworks import data
from smallworks.errors import DataError
from smallworks.types import Columns, Task

from .conftest import ENOUGH, MakeTask, notice, row

NEW: dict[str, Any] = {"tags": ["synthetic", "model:big"], "teacher_probabilities": {"bug": 0.7, "idea": 0.3}}


def with_synthetic(task: Task, rows: list[dict[str, Any]]) -> Task:
    path = task.folder / "synthetic.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return replace(task, data=replace(task.data, synthetic=path))


def test_they_stand_apart_from_every_split(make_task: MakeTask) -> None:
    plain = make_task(ENOUGH)
    without, splits = data.load(plain), data.load(with_synthetic(plain, [row("new", "bug") | NEW]))
    assert (splits.train, splits.validation, splits.test) == (without.train, without.validation, without.test)
    assert splits.fingerprint == without.fingerprint
    (new,) = splits.synthetic
    assert (new.text, new.output, new.probabilities) == ("new", "bug", {"bug": 0.7, "idea": 0.3})
    assert splits.report.sizes["synthetic"] == 1 and "synthetic" not in without.report.sizes


def test_what_a_held_out_part_or_a_training_row_has_is_left_out(make_task: MakeTask) -> None:
    plain = make_task(ENOUGH)
    without = data.load(plain)
    held_out = [without.test[0], without.validation[0], without.train[0]]
    rows = [row(example.text.upper(), "idea") for example in held_out]
    splits = data.load(with_synthetic(plain, [*rows, row("new", "bug"), row("new", "bug")]))
    assert [example.text for example in splits.synthetic] == ["new"]
    dropped = [n for n in splits.report.removed if n.file == "synthetic.jsonl"]
    assert sorted(n.code for n in dropped) == ["duplicate", "duplicate", "leak", "leak"]
    assert "'the test part' too" in notice(splits.report, "leak").sentence


def test_rows_of_a_held_out_group_are_left_out(make_task: MakeTask) -> None:
    own = [{**cells, "who": f"w{i // 3}"} for i, cells in enumerate(ENOUGH)]
    plain = make_task(own, columns=Columns(input="text", group="who"))
    parts = data.load(plain)
    whos = [parts.test[0].group, parts.validation[0].group, parts.train[0].group, "", "stranger"]
    new = [{**row(f"new {i}", "bug"), "who": who} for i, who in enumerate(whos)]
    splits = data.load(with_synthetic(plain, new))
    assert [example.text for example in splits.synthetic] == ["new 2", "new 3", "new 4"]
    dropped = [n for n in splits.report.removed if n.code == "shared_group"]
    assert ["the test part" in n.sentence for n in dropped] == [True, False] and dropped[0].rows == (1,)


def test_columns_that_only_the_tasks_own_rows_have_are_not_asked_for(make_task: MakeTask) -> None:
    own = [{**cells, "number": f"n{i}", "who": f"w{i}"} for i, cells in enumerate(ENOUGH)]
    task = make_task(own, columns=Columns(input="text", id="number", group="who"))
    assert len(data.load(with_synthetic(task, [row("new", "bug")])).synthetic) == 1


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (row("new", "bgu"), "'bgu', not among the task's labels"),
        ({"question": "new", "context": "c", "label": "bug"}, "has the inputs context, question, not input"),
        (row("new", "bug") | {"teacher_probabilities": {"bug": 7}}, "teacher_probabilities are"),
    ],
)
def test_rows_that_do_not_fit_the_task_are_refused(make_task: MakeTask, bad: Any, said: str) -> None:
    with pytest.raises(DataError, match=said):
        data.load(with_synthetic(make_task(ENOUGH), [bad]))


def test_a_task_file_names_them(tmp_path: Path) -> None:
    from smallworks.taskfile import load_task

    for name in ("train.jsonl", "new.jsonl"):
        (tmp_path / name).write_text(json.dumps(row("a", "bug")) + "\n")
    head = '[task]\nname = "t"\nkind = "classify"\ninstruction = "Name it."\n[data]\ntrain = "train.jsonl"\n'
    (tmp_path / "task.toml").write_text(head + 'synthetic = "new.jsonl"\n')
    assert load_task(tmp_path).data.synthetic == tmp_path / "new.jsonl"


def test_those_marked_as_out_of_scope_are_left_out_and_told(make_task: MakeTask) -> None:
    plain = make_task([*ENOUGH, *(row(f"nothing {i}", "none") for i in range(5))])
    task = replace(plain, labels=("bug", "idea"), data=replace(plain.data, out_of_scope="none"))
    splits = data.load(with_synthetic(task, [row("new", "bug"), row("what now", "none")]))
    assert [example.text for example in splits.synthetic] == ["new"]
    (told,) = [n for n in splits.report.removed if n.code == "outside"]
    assert told.rows == (2,) and "not learnt" in told.sentence
