"""From a task's own rows to what it needs, what fits, and the command to run next."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from smallworks import select
from smallworks.engines.speed import Speed
from smallworks.errors import UserError
from smallworks.recipes.recommend import Recommendation, Wishes, recommend
from smallworks.taskfile import load_task

MACHINE = select.Machine(
    name="a laptop", memory=8 * 10**9, speed=Speed(bandwidth=2e10, flops=1.5e11, threads=2)
)
Make = Callable[..., Path]


@pytest.fixture
def task_of(tmp_path: Path) -> Make:
    """A task folder with so many rows of a kind, and more lines for its file."""

    def make(kind: str = "extract", rows: int = 90, more: str = "") -> Path:
        labels = ["crash", "invoice", "colour"]
        lines = []
        for n in range(rows):
            label = labels[n % 3]
            text = f"the {label} number {n} again, please look at {label} {n}"
            answer = label if kind == "classify" else json.dumps({"what": label})
            lines.append(json.dumps({"input": text, "output": answer}))
        (tmp_path / "train.jsonl").write_text("\n".join(lines) + "\n")
        schema = "schema = { type = 'object' }\n" if kind == "extract" else ""
        head = f'[task]\nname = "t"\nkind = "{kind}"\ninstruction = "Do it."\n{schema}'
        (tmp_path / "task.toml").write_text(f'{head}[data]\ntrain = "train.jsonl"\n{more}')
        return tmp_path

    return make


def found(folder: Path, **wishes: Any) -> Recommendation:
    return recommend(load_task(folder), Wishes(**wishes), machine=MACHINE)


def test_needs_come_from_the_rows_and_the_task_file(task_of: Make) -> None:
    more = '[targets]\np95_ms = 900\n[flagship]\nname = "big"\ninput_price = 10\noutput_price = 10\n'
    needs = found(task_of(more=more), volume=1000.0).needs
    assert (needs.kind, needs.latency_ms) == ("extract", 900)
    assert 70 < needs.tokens_in < 85 and 3 < needs.tokens_out < 8 and needs.longest == 128
    assert needs.flagship == pytest.approx((needs.tokens_in + needs.tokens_out) * 1e-5)


def test_a_task_that_writes_is_told_a_language_model_and_how_to_build_with_it(task_of: Make) -> None:
    said = found(task_of())
    assert said.ranking.advice.route == "language model"
    assert said.next == f"smallworks build {task_of()} --base {said.ranking.bases[0].entry.ref}"
    assert said.ranking.encoders == ()


def test_labels_that_words_tell_apart_need_no_language_model(task_of: Make) -> None:
    said = found(task_of("classify", 120, "[targets]\nat_least = 0.8\n"))
    assert said.needs.linear and said.needs.linear.value == 1.0 and said.needs.linear.n > 20
    assert said.ranking.advice.route == "linear"
    assert said.next.endswith("--only majority,linear")


def test_a_catalogue_in_the_tasks_folder_is_read(task_of: Make) -> None:
    folder = task_of()
    row = """\
[[model]]
name = "Mine"
hub = "me/mine"
kind = "decoder"
type = "llama"
parameters = 134_515_008
licence = "mit"
languages = ["qq"]
context = 2048
released = "2026-01"
shape = { layers = 30, hidden = 576, heads = 9, kv_heads = 3, intermediate = 1536, vocab = 49152 }
"""
    (folder / "catalogue.toml").write_text(row)
    assert [fit.entry.hub for fit in found(folder, languages=("qq",)).ranking.bases] == ["me/mine"]


@pytest.mark.parametrize(
    ("wishes", "said"),
    [
        ({"volume": 0.0}, "--volume 0 is not an amount"),
        ({"context": -1}, "--context -1 is not"),
        ({"budget": float("inf")}, "--budget inf is not"),
        ({"languages": ("xx",)}, "no model of the catalogue names 'xx'"),
    ],
)
def test_wishes_that_cannot_be_meant_are_named(task_of: Make, wishes: Mapping[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        found(task_of(), **wishes)


def test_a_machine_without_speed_says_that_times_are_not_known(task_of: Make) -> None:
    said = recommend(load_task(task_of()), Wishes(), machine=select.described(ram="4GB"))
    assert "no times" in said.remarks[0]
    assert all(fit.request_ms is None for fit in said.ranking.bases)
