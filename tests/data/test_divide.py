"""Dividing a file: shares, whole groups, time that only goes forward, and columns that are not there."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from smallworks import data
from smallworks.errors import DataError, UserError
from smallworks.types import Columns, Task

MakeTask = Callable[..., Task]


def rows(n: int = 200) -> list[dict[str, Any]]:
    return [
        {
            "text": f"text number {i}",
            "label": "bug" if i % 4 else "idea",
            "customer": f"c{i * 7 % 23}",
            "when": f"2026-{1 + i % 12:02d}-{1 + i % 28:02d}",
        }
        for i in range(n)
    ]


def parts(done: data.Division) -> dict[str, list[dict[str, Any]]]:
    return {
        part: [json.loads(line) for line in path.read_text().splitlines()]
        for part, path in done.files.items()
    }


def test_labels_keep_their_shares_and_no_row_is_lost(make_task: MakeTask, tmp_path: Path) -> None:
    done = data.divide(make_task(rows()), tmp_path / "out")
    found = parts(done)
    assert done.sizes == {"train": 144, "validation": 16, "test": 40}
    assert sum(r["label"] == "idea" for r in found["test"]) == 10
    assert sorted(r["text"] for part in found.values() for r in part) == sorted(r["text"] for r in rows())


def test_no_group_stands_in_two_parts(make_task: MakeTask, tmp_path: Path) -> None:
    found = parts(data.divide(make_task(rows()), tmp_path / "out", group="customer"))
    groups = [{r["customer"] for r in part} for part in found.values()]
    assert sum(map(len, groups)) == 23 == len(set.union(*groups)) and all(groups)


def test_the_tasks_own_groups_are_kept_whole_unasked(make_task: MakeTask, tmp_path: Path) -> None:
    task = make_task(rows(), columns=Columns(group="customer"))
    assert "whole groups of 'customer'" in data.divide(task, tmp_path / "out").how
    assert "by time" in data.divide(task, tmp_path / "later", by_time="when").how


def test_rows_without_a_group_stand_alone(make_task: MakeTask, tmp_path: Path) -> None:
    unknown = [{**r, "customer": None} for r in rows()]
    assert data.divide(make_task(unknown), tmp_path / "out", group="customer").sizes["test"] == 40


@pytest.mark.parametrize("unit", ["date", "number", "zone"])
def test_the_test_part_is_the_latest_and_moments_stay_whole(
    make_task: MakeTask, tmp_path: Path, unit: str
) -> None:
    write: dict[str, Callable[[int], Any]] = {
        "date": lambda i: f"2026-01-{1 + i % 20:02d}",
        "number": lambda i: i % 20,
        "zone": lambda i: f"2026-01-{1 + i % 20:02d}T00:00:00+02:00",
    }
    timed = [{**r, "when": write[unit](i)} for i, r in enumerate(rows())]
    found = parts(data.divide(make_task(timed), tmp_path / "out", by_time="when"))
    train, validation, test = ({r["when"] for r in found[part]} for part in ("train", "validation", "test"))
    assert max(train) < min(validation) and max(validation) < min(test)
    assert [len(part) for part in found.values()] == [140, 20, 40]


@pytest.mark.parametrize(
    ("change", "options", "said"),
    [
        ({}, {"group": "custmer"}, "no column 'custmer'.*Did you mean 'customer'"),
        ({}, {"group": "customer", "by_time": "when"}, "at once"),
        ({"customer": "one"}, {"group": "customer"}, "too few rows to set a test part aside"),
        ({"when": "2026-01-01"}, {"by_time": "when"}, "too few rows to set a test part aside"),
        ({"when": "last week"}, {"by_time": "when"}, "Row 1 has no time in 'when': 'last week'"),
    ],
)
def test_what_cannot_be_split_is_refused_and_nothing_is_written(
    make_task: MakeTask, tmp_path: Path, change: dict[str, str], options: dict[str, str], said: str
) -> None:
    with pytest.raises(UserError, match=said):
        data.divide(make_task([{**r, **change} for r in rows()]), tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_numbers_and_dates_are_not_mixed(make_task: MakeTask, tmp_path: Path) -> None:
    mixed = rows()
    mixed[5]["when"] = 17
    with pytest.raises(DataError, match="mixes numbers and dates"):
        data.divide(make_task(mixed), tmp_path / "out", by_time="when")


def test_a_text_in_two_parts_is_told(make_task: MakeTask, tmp_path: Path) -> None:
    timed = [{**r, "when": i} for i, r in enumerate(rows())]
    timed[0]["text"] = timed[-1]["text"].upper()
    done = data.divide(make_task(timed), tmp_path / "out", by_time="when")
    assert [(n.code, n.file, n.rows) for n in done.notices if n.code == "leak"] == [("leak", "train", (1,))]
