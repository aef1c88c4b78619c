"""Checks on labels: classes too small are refused, odd ones told."""

from __future__ import annotations

from typing import Any

import pytest

from smallworks import data
from smallworks.errors import DataError

from .conftest import ENOUGH, MakeTask, notice, row, rows_of


def test_labels_unseen_in_training_are_a_warning(make_task: MakeTask) -> None:
    splits = data.load(make_task(ENOUGH, [row("a", "bugg"), row("b", "bug")]))
    found = notice(splits.report, "unseen_label")
    assert found.severity == "warning" and found.rows == (1,) and found.fix == "Did you mean 'bug'?"
    assert splits.labels == ("bug", "idea") and len(splits.test) == 2


def test_imbalance_two_spellings_and_a_short_test_are_warnings(make_task: MakeTask) -> None:
    rows = [*rows_of({"bug": 40}), *(row(f"other {i}", "Bug") for i in range(4))]
    codes = {n.code for n in data.check(make_task(rows)).notices}
    assert codes == {"imbalance", "label_spelling", "short_test"}


@pytest.mark.parametrize(
    ("rows", "labels", "said"),
    [
        ([], (), "'train.jsonl' holds no rows"),
        ([row("", "a")], (), "No row of 'train.jsonl' has both"),
        ([row("x", "a")], (), "'a' has a single row"),
        (rows_of({"a": 5, "b": 1}), (), "'b' has a single row in 'train.jsonl' (row 6)"),
        (rows_of({"a": 5}), (), "Every row of 'train.jsonl' has the label 'a'"),
        (rows_of({"a": 5, "b": 5}), ("a", "b", "c"), "'c' has no row in 'train.jsonl'"),
        (rows_of({"a": 5, "b": 5, "aa": 1}), ("a", "b"), "'aa', not among the task's labels (row 11)"),
        (rows_of({"a": 2, "b": 2}), (), "too few rows to set a test part aside"),
        ([row("x", "a"), {"text": "y", "label": [1]}], (), "row 2: its label is [1], not one text"),
    ],
)
def test_data_that_cannot_be_learned_from_are_refused(
    make_task: MakeTask, rows: list[dict[str, Any]], labels: tuple[str, ...], said: str
) -> None:
    with pytest.raises(DataError) as caught:
        data.load(make_task(rows, labels=labels))
    assert said in caught.value.what.replace(str(make_task(rows).folder) + "/", "") and caught.value.fix
