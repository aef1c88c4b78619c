"""Checks on rows: every removal and every error comes with its row numbers."""

from __future__ import annotations

import pytest

from smallworks import data
from smallworks.data.checks import schema_violations
from smallworks.errors import DataError

from .conftest import ENOUGH, MakeTask, notice, row


def test_leaks_leave_train_and_never_test(make_task: MakeTask) -> None:
    train = [row("Hello  there", "bug"), *ENOUGH, row("held", "bug")]
    splits = data.load(
        make_task(train, [row("hello There", "bug")], [row("HELD", "bug"), row("hello there", "bug")])
    )
    in_validation, in_test, held = splits.report.removed
    assert (in_validation.file, in_validation.rows) == ("validation.jsonl", (2,))
    assert (in_test.file, in_test.rows, in_test.count) == ("train.jsonl", (1,), 1)
    assert held.rows == (62,) and "row 62 is row 1 there" in held.sentence
    assert [len(part) for part in (splits.train, splits.validation, splits.test)] == [60, 1, 1]


def test_duplicates_and_empty_rows_are_dropped_with_their_numbers(make_task: MakeTask) -> None:
    report = data.check(make_task([*ENOUGH, row("", "bug"), ENOUGH[0], row("x", "")]))
    assert notice(report, "duplicate").rows == (62,) and notice(report, "empty_row").rows == (61, 63)
    assert {n.code for n in report.removed} == {"duplicate", "empty_row"}
    assert sum(report.sizes.values()) == 60 and not report.errors


def test_conflicts_are_told_and_kept(make_task: MakeTask) -> None:
    report = data.check(make_task([row("Same", "bug"), row("same ", "idea"), *ENOUGH]))
    found = notice(report, "conflict")
    assert found.rows == (1, 2) and "'bug' and 'idea' for 'Same'" in found.sentence
    assert sum(report.sizes.values()) == 62


def test_one_row_of_text_is_refused_too(make_task: MakeTask) -> None:
    with pytest.raises(DataError, match="too few rows: 1 left"):
        data.load(make_task([{"prompt": "p", "completion": "c"}], kind="generate"))


def test_outputs_that_break_the_schema_are_named(make_task: MakeTask) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    rows = [{"text": f"t{i}", "output": {"n": i}} for i in range(20)]
    assert data.load(make_task(rows, kind="extract", schema=schema)).train[0].output == '{"n":0}'
    rows[4]["output"], rows[7]["output"] = {"n": "x"}, {}
    report = data.check(make_task(rows, kind="extract", schema=schema))
    assert report.errors[0].rows == (5, 8) and "row 5" in report.errors[0].sentence
    assert 'at n, "x" is not of type "integer"' in report.errors[0].sentence


def test_ids_must_differ(make_task: MakeTask) -> None:
    rows = [{**r, "id": "1" if i < 2 else str(i)} for i, r in enumerate(ENOUGH)]
    with pytest.raises(DataError, match="the id '1' more than once"):
        data.load(make_task(rows))


def test_nothing_is_fetched_for_a_schema(elsewhere: str) -> None:
    with pytest.raises(ValueError, match="retriev"):
        schema_violations([], {"$ref": elsewhere}, "train.jsonl")
