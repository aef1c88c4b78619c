"""From files to splits: what is removed, what is refused, and what the report says."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from smallworks import data
from smallworks.errors import DataError
from smallworks.taskfile import load_task
from smallworks.types import BuildOptions, Columns

from .conftest import ENOUGH, MakeTask, notice, row, rows_of


def test_one_file_becomes_three_parts(make_task: MakeTask) -> None:
    seen: list[tuple[Any, ...]] = []
    splits = data.load(make_task(ENOUGH), lambda *step: seen.append(step))
    assert splits.report.sizes == {"train": 44, "validation": 4, "test": 12}
    assert splits.labels == ("bug", "idea") and splits.report.classes == {"bug": 22, "idea": 22}
    assert splits.report.columns == {"train.jsonl": "text → input, label → output"}
    assert data.preview(splits) == splits.train[:5] and seen[0][:3] == ("data", 0, 1)


def test_files_of_their_own_are_left_whole(make_task: MakeTask) -> None:
    test, validation = [row("t1", "bug"), row("t1", "bug"), row("t2", "idea")], [row("v", "bug")]
    splits = data.load(make_task(ENOUGH, test, validation))
    assert [len(part) for part in (splits.train, splits.validation, splits.test)] == [60, 1, 3]
    assert not notice(splits.report, "duplicate").removed


def test_further_errors_are_counted(make_task: MakeTask) -> None:
    with pytest.raises(DataError, match="Further errors: 1"):
        data.load(make_task(rows_of({"a": 5, "b": 1}), labels=("a", "b", "c")))


def test_the_fingerprint_follows_rows_columns_and_seed(make_task: MakeTask) -> None:
    task = make_task(ENOUGH)
    mark = data.fingerprint(task)
    assert mark == data.fingerprint(make_task(ENOUGH)) == data.load(task).fingerprint
    other_columns = replace(task, data=replace(task.data, columns=Columns(input="text")))
    assert data.fingerprint(replace(task, build=BuildOptions(seed=1))) != mark
    assert data.fingerprint(other_columns) != mark
    assert data.fingerprint(make_task(ENOUGH[1:])) != mark


def grouped(groups: int, size: int) -> list[dict[str, str]]:
    return [
        {**row(f"{g} {i}", "bug" if i % 2 else "idea"), "customer": f"c{g}"}
        for g in range(groups)
        for i in range(size)
    ]


BY_CUSTOMER = Columns(group="customer")


def test_a_group_is_carved_into_one_part_only(make_task: MakeTask) -> None:
    splits = data.load(make_task(grouped(20, 5), columns=BY_CUSTOMER))
    parts = [{e.group for e in part} for part in (splits.train, splits.validation, splits.test)]
    assert [len(part) for part in parts] == [15, 1, 4]
    assert not parts[0] & parts[1] and not parts[0] & parts[2] and not parts[1] & parts[2]


def test_a_text_of_two_groups_stays_in_the_later_part(make_task: MakeTask) -> None:
    thanks = [{**row(f"many{' ' * g} thanks", "bug"), "customer": f"c{g}"} for g in range(1, 20)]
    splits = data.load(make_task(grouped(20, 5) + thanks, columns=BY_CUSTOMER))
    parts = [{" ".join(e.text.split()) for e in p} for p in (splits.train, splits.validation, splits.test)]
    assert not parts[0] & (parts[1] | parts[2]) and not parts[1] & parts[2]
    assert "many thanks" in parts[2]
    assert "in 'the test part' too" in notice(splits.report, "leak").sentence


def test_customers_that_are_trained_and_tested_on_are_told(make_task: MakeTask) -> None:
    test = [{**r, "text": "new " + r["text"]} for r in grouped(3, 2)] + [{**row("x", "bug"), "customer": "z"}]
    splits = data.load(make_task(grouped(20, 5), test, columns=BY_CUSTOMER))
    assert "3 of the 4 groups of 'customer'" in notice(splits.report, "shared_group").sentence
    assert len(splits.test) == 7


def test_the_group_column_must_be_there_and_is_part_of_the_fingerprint(make_task: MakeTask) -> None:
    with pytest.raises(DataError, match=r"no column 'custmer' \(group\).*Did you mean 'customer'"):
        data.load(make_task(grouped(20, 5), columns=Columns(group="custmer")))
    task = make_task(grouped(20, 5))
    assert data.fingerprint(task) != data.fingerprint(
        replace(task, data=replace(task.data, columns=BY_CUSTOMER))
    )


def test_banking77_loads_whole(shared: Path, tmp_path: Path) -> None:
    folder = shared / "data" / "banking77"
    (tmp_path / "task.toml").write_text(
        '[task]\nname = "banking77"\nkind = "classify"\ninstruction = "Name the intent."\n'
        f'[data]\ntrain = "{folder}/train.csv"\ntest = "{folder}/test.csv"\n'
    )
    splits = data.load(load_task(tmp_path))
    assert len(splits.labels) == 77 and len(splits.test) == 3080
    assert [n.code for n in splits.report.notices] == ["leak"]
    assert len(splits.train) + len(splits.validation) + 7 == 10_003


def test_gsm8k_loads_as_questions_and_answers(shared: Path, make_task: MakeTask) -> None:
    splits = data.load(make_task(shared / "data" / "gsm8k" / "test.jsonl", kind="answer"))
    assert sum(splits.report.sizes.values()) == 1319 and not splits.report.errors
    assert data.preview(splits, 1)[0].text.startswith("Janet")


def test_snips_loads_as_extraction(shared: Path, make_task: MakeTask, tmp_path: Path) -> None:
    source = shared / "data" / "snips_original" / "GetWeather" / "validate_GetWeather.json"
    rows = []
    for sentence in json.loads(source.read_text(encoding="utf-8"))["GetWeather"]:
        slots = {part["entity"]: part["text"] for part in sentence["data"] if "entity" in part}
        rows.append({"text": "".join(part["text"] for part in sentence["data"]), "output": slots})
    schema = {"type": "object", "additionalProperties": {"type": "string"}}
    splits = data.load(make_task(rows, kind="extract", schema=schema))
    assert splits.report.sizes == {"train": 71, "validation": 8, "test": 20}
    assert notice(splits.report, "duplicate").count == 1


def test_raw_snips_says_that_no_column_is_the_output(shared: Path, make_task: MakeTask) -> None:
    source = shared / "data" / "snips_original" / "GetWeather" / "validate_GetWeather.json"
    with pytest.raises(DataError, match="its columns are: data"):
        data.load(make_task(source, kind="extract"))
