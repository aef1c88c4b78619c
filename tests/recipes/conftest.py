"""A small copy of the sample task, and its build of the two cheapest candidates, made once."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from smallworks import starter, taskfile
from smallworks.recipes.build import Options, build
from smallworks.types import Table, Task

TOML = """
[task]
name = "small"
kind = "classify"
instruction = "Name the kind of the ticket."
[data]
train = "train.csv"
test = "test.csv"
input = "text"
output = "label"
[targets]
metric = "accuracy"
at_least = {at_least}
"""


def write_task(folder: Path, *, train: int = 120, test: int = 60, at_least: float = 0.5) -> Task:
    """The first rows of the sample tickets as a task of their own."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, count in (("train", train), ("test", test)):
        with (starter.TASKS["tickets"] / f"{name}.csv").open(newline="", encoding="utf-8") as file:
            rows = list(csv.reader(file))[: count + 1]
        with (folder / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(rows)
    (folder / "task.toml").write_text(TOML.format(at_least=at_least))
    return taskfile.load_task(folder)


@pytest.fixture(scope="session")
def small_task(tmp_path_factory: pytest.TempPathFactory) -> Task:
    return write_task(tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="session")
def small_table(small_task: Task) -> Table:
    """Majority and linear, built."""
    return build(small_task, Options(only=("majority", "linear")))
