"""Rows that belong to no label are set aside, never learnt from, and in one part only."""

from __future__ import annotations

from dataclasses import replace

import pytest

from smallworks import data
from smallworks.errors import DataError
from smallworks.types import Columns, Task

from .conftest import ENOUGH, MakeTask, notice, row, rows_of

NONE = [row(f"nothing {i}", "none") for i in range(20)]


def marked(task: Task, mark: str = "none") -> Task:
    return replace(task, data=replace(task.data, out_of_scope=mark))


def test_they_are_no_class_and_in_no_other_part(make_task: MakeTask) -> None:
    splits = data.load(marked(make_task(ENOUGH + NONE)))
    plain = data.load(make_task(ENOUGH))
    assert splits.labels == ("bug", "idea")
    assert [e.text for e in splits.train] == [e.text for e in plain.train]
    assert (len(splits.outside), len(splits.outside_test)) == (16, 4)
    assert not {e.text for e in splits.outside} & {e.text for e in splits.outside_test}
    assert (
        "16 rows to choose when to abstain, 4 rows to measure it" in notice(splits.report, "outside").sentence
    )


def test_those_of_a_test_file_measure_and_the_rest_choose(make_task: MakeTask) -> None:
    test = [row("new 1", "bug"), row("nothing  1", "none"), row("never seen", "none")]
    splits = data.load(marked(make_task(ENOUGH + NONE, test)))
    assert [e.text for e in splits.outside_test] == ["nothing  1", "never seen"]
    assert len(splits.outside) == 19 and [e.output for e in splits.test] == ["bug"]


def test_whole_groups_are_carved(make_task: MakeTask) -> None:
    rows = [{**r, "customer": f"c{i // 4}"} for i, r in enumerate(ENOUGH + NONE)]
    splits = data.load(marked(make_task(rows, columns=Columns(group="customer"))))
    assert splits.outside and splits.outside_test
    assert not {e.group for e in splits.outside} & {e.group for e in splits.outside_test}


def test_a_mark_that_no_row_has_is_an_error(make_task: MakeTask) -> None:
    with pytest.raises(DataError, match="No row has 'nome'"):
        data.load(marked(make_task(ENOUGH + NONE), "nome"))


def test_without_a_mark_they_are_a_class_as_ever(make_task: MakeTask) -> None:
    task = make_task(rows_of({"bug": 30, "none": 30}))
    splits = data.load(task)
    assert splits.labels == ("bug", "none") and splits.outside == splits.outside_test == ()
    assert data.fingerprint(task) != data.fingerprint(marked(task))


def test_one_file_is_read_in_two_halves(make_task: MakeTask) -> None:
    task = marked(make_task(ENOUGH + NONE))
    rows, _ = data.read_examples(task, task.data.train)
    assert {e.output for e in rows} == {"bug", "idea"}
    assert [e.output for e in data.read_outside(task, task.data.train)] == ["none"] * 20
