"""A build on rows that come in groups says so wherever its table stands."""

from __future__ import annotations

import csv
from dataclasses import replace
from html import unescape
from typing import get_args

import pytest

from smallworks import taskfile
from smallworks.cli.table import show
from smallworks.evaluate import records
from smallworks.recipes import table as tables
from smallworks.recipes.build import Options, build
from smallworks.types import Outcome, Table, Verdict

from .conftest import write_task


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Table:
    folder = tmp_path_factory.mktemp("grouped")
    write_task(folder, at_least=0.3)
    for name in ("train.csv", "test.csv"):
        with (folder / name).open(newline="", encoding="utf-8") as file:
            head, *rows = csv.reader(file)
        with (folder / name).open("w", newline="", encoding="utf-8") as file:
            grouped = ([*row, f"{name} {i // 5}"] for i, row in enumerate(rows))
            csv.writer(file).writerows([[*head, "customer"], *grouped])
    text = (folder / "task.toml").read_text()
    (folder / "task.toml").write_text(text.replace("[targets]", 'group = "customer"\n[targets]'))
    return build(taskfile.load_task(folder), Options(only=("majority",)))


def test_every_estimate_knows_its_groups(table: Table) -> None:
    (row,) = table.rows
    assert {e.groups for e in row.metrics.values()} == {12} and {e.n for e in row.metrics.values()} == {60}
    assert row.records and len({r.group for r in records.read(row.records)}) == 12
    assert tables.from_json(tables.to_json(table)) == table


def test_the_report_and_the_verdict_say_how_many_groups(table: Table) -> None:
    assert table.report and table.rows[0].verdict
    page = unescape(table.report.read_text(encoding="utf-8"))
    assert "The 60 test rows are in 12 groups" in page
    assert "on 60 rows in 12 groups: 0.3 or better" in table.rows[0].verdict.reason
    assert ">0.3 or better is" in page  # the figures before it stand in the line itself


def test_where_nothing_passes_nobody_is_told_to_serve(
    table: Table, capsys: pytest.CaptureFixture[str]
) -> None:
    (row,) = table.rows
    for outcome in get_args(Outcome):
        show(replace(table, rows=(replace(row, verdict=Verdict(outcome=outcome, reason="")),)))
        said = capsys.readouterr()
        passed = outcome == "pass"
        assert ("● majority" in said.out, "\nchosen  " in said.out) == (passed, passed)
        assert ("○ majority" in said.out, "\n○ best  " in said.out) == (not passed, not passed)
        assert ("smallworks serve" in said.err) is passed


def test_the_terminal_says_it_once(table: Table, capsys: pytest.CaptureFixture[str]) -> None:
    show(table)
    assert capsys.readouterr().out.count("60 test rows are in 12 groups") == 1
