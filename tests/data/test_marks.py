"""Rows by their marks: a report that is told without holding the texts is the report of a build."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from smallworks import data
from smallworks.data.marks import BEGINNING, drawn, exact, marked, same
from smallworks.types import Example, ExampleId

from .conftest import MakeTask, row

LONG = "the very same beginning of a long text, word for word, " * 3


def example(text: str, output: str = "bug") -> Example:
    return Example(id=ExampleId("1"), inputs={"input": text}, output=output, row=1)


@pytest.mark.parametrize(
    ("other", "alike", "equal"),
    [
        (example(LONG + "a"), True, True),
        (example(LONG.upper() + " A "), True, False),
        (example(LONG + "a", "idea"), True, False),
        (example(LONG + "b"), False, False),
    ],
)
def test_marks_tell_apart_what_the_texts_do(other: Example, alike: bool, equal: bool) -> None:
    one = example(LONG + "a")
    for a in (one, marked(one, seed=0, keep_output=True)):
        for b in (other, marked(other, seed=0, keep_output=True)):
            assert (same(a) == same(b)) is (drawn(a, 0) == drawn(b, 0)) is alike
            assert (exact(a) == exact(b)) is equal
    assert len(marked(one, seed=0, keep_output=False).text) == BEGINNING


def test_the_report_is_the_one_of_a_build(make_task: MakeTask) -> None:
    rows = [row(f"{LONG}{at // 2 if at % 5 else at}", ("bug", "idea", "plan")[at % 3]) for at in range(90)]
    rows += [rows[0], row(rows[3]["text"].upper(), "bug"), row("", "bug"), row(rows[4]["text"], "idea")]
    task = make_task(rows, [rows[7], row(LONG + "held out", "idea"), row(LONG + "too", "nobody has it")])
    report = data.check(task)
    assert report == data.load(task).report
    assert {notice.code for notice in report.notices} >= {"duplicate", "leak", "conflict", "unseen_label"}


def test_a_file_is_divided_as_a_build_divides_it(make_task: MakeTask, tmp_path: Path) -> None:
    task = make_task([row(f"{LONG}{at}", "bug" if at % 3 else "idea") for at in range(60)])
    done, splits = data.divide(task, tmp_path / "parts"), data.load(task)
    for part, path in done.files.items():
        written: list[Any] = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        assert {cells["text"] for cells in written} == {e.text for e in getattr(splits, part)}
