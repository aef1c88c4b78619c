"""The workshop: rows written once, and a bundle that was lost or damaged is made again."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from smallworks import files
from smallworks.bundle import Bundle, Manifest, freeze, open_bundle
from smallworks.data.report import DataReport
from smallworks.recipes.steps import Steps
from smallworks.recipes.workshop import Workshop
from smallworks.seams import silent
from smallworks.types import DataFiles, Example, ExampleId, PromptSpec, Targets, Task


@pytest.fixture
def shop(tmp_path: Path) -> Workshop:
    from smallworks.data import Splits

    rows = tuple(
        Example(id=ExampleId(f"r{i}"), inputs={"text": f"é {i}"}, output="a", row=i) for i in range(60)
    )
    task = Task(
        name="t",
        kind="classify",
        instruction="Do it.",
        folder=tmp_path,
        data=DataFiles(train=tmp_path / "train.csv"),
        targets=Targets(metric="accuracy"),
    )
    splits = Splits(
        train=rows[:50],
        validation=rows[50:],
        test=(),
        labels=("a", "b"),
        report=DataReport(notices=(), sizes={}, classes={}, columns={}),
        fingerprint="f" * 64,
    )
    return Workshop(task, splits, Steps(tmp_path / "steps", silent), tmp_path / "bundles", silent)


def make(shop: Workshop, log: list[Path]) -> Bundle:
    manifest = Manifest(
        task="t",
        kind="classify",
        candidate="c",
        engine="fake",
        prompt=PromptSpec(style="raw", kind="classify"),
    )

    def work(folder: Path) -> dict[str, Any]:
        log.append(folder)
        files.write_text(folder / "draft" / "weights", "1")
        return {"bundle": str(freeze(folder / "draft", manifest, into=shop.bundles).path)}

    return shop.frozen("freeze", {}, work)


def damage(bundle: Bundle) -> None:
    bundle.file("weights").unlink()
    bundle.file("weights").write_text("2")


@pytest.mark.parametrize(
    "lose", [lambda b: shutil.rmtree(b.path), damage, lambda b: b.file("weights").unlink()]
)
def test_a_bundle_that_is_lost_or_damaged_is_made_again(shop: Workshop, lose: Any) -> None:
    log: list[Path] = []
    first = make(shop, log)
    assert make(shop, log) == first and len(log) == 1
    lose(first)
    assert make(shop, log) == first == open_bundle(first.path) and len(log) == 2


def test_rows_are_written_once_and_whole(shop: Workshop) -> None:
    path = shop.write_rows("train", shop.splits.train)
    before = path.stat().st_mtime_ns
    assert shop.write_rows("train", shop.splits.train) == path and path.stat().st_mtime_ns == before
    rows = list(files.read_jsonl(path))
    third = {"id": "r3", "inputs": {"text": "é 3"}, "output": "a", "row": 3, "group": "", "documents": []}
    assert len(rows) == 50 and rows[3] == third


def test_baselines_are_fitted_on_everything_but_the_test(shop: Workshop) -> None:
    assert shop.fitting == shop.splits.train + shop.splits.validation
    assert shop.inputs == ("text",)


def test_golden_rows_are_spread_over_rows_that_are_not_test_rows(shop: Workshop) -> None:
    chosen = shop.golden_examples()
    assert len(chosen) == 24 and {e.id for e in chosen} <= {e.id for e in shop.fitting}


def test_synthetic_rows_are_fitted_by_a_taught_candidate_alone(shop: Workshop) -> None:
    new = Example(id=ExampleId("new"), inputs={"text": "new"}, output="b", probabilities={"a": 0.4, "b": 0.6})
    plain = replace(shop, splits=replace(shop.splits, synthetic=(new,)))
    taught = replace(plain, taught=True)
    assert plain.synthetic == () and taught.synthetic == (new,)
    assert plain.data_key == shop.data_key != taught.data_key
    assert (plain.suffix, taught.suffix) == ("", "+synthetic")
    assert taught.fitting == plain.fitting == shop.fitting and taught.shuffled == shop.shuffled
