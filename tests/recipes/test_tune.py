"""One candidate tuned alone: what is shown before, the dials, and that a build takes over what it made."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from smallworks.engines import shape
from smallworks.errors import SmallworksError, UserError
from smallworks.recipes import examine, plan
from smallworks.recipes import tune as recipe
from smallworks.recipes.build import Options, build
from smallworks.recipes.tuning import Dials, request_of
from smallworks.recipes.workshop import Workshop
from smallworks.types import Task

from .conftest import write_task


@pytest.fixture
def task(tmp_path: Path) -> Task:
    made = write_task(tmp_path / "task", train=60, test=20)
    return replace(made, build=replace(made.build, epochs=1.0))


@pytest.fixture
def shop(task: Task, tiny_folder: Path) -> Iterator[Workshop]:
    with recipe.workshop(task, Dials(), base=str(tiny_folder)) as shop:
        yield shop


def test_a_row_is_shown_as_the_model_reads_it_with_what_it_learns_apart(shop: Workshop) -> None:
    row = request_of(shop, Dials(), Path())[0].train[0]
    asked, said = recipe.segments(shop, row)
    assert asked.text.startswith("<|im_start|>user\nName the kind of the ticket.")
    assert asked.text.endswith("<|im_start|>assistant\n") and not asked.supervised
    assert said.supervised and said.text in ("A<|im_end|>", "B<|im_end|>", "C<|im_end|>")


def test_a_budget_gives_the_most_epochs_that_end_within_it(shop: Workshop) -> None:
    request, _ = request_of(shop, Dials(), Path())
    epochs = [recipe.epochs_within(request, budget, 1000.0) for budget in (40, 60, 90, 1e9)]
    assert epochs == sorted(epochs) and 1 <= epochs[0] < epochs[1] and epochs[-1] == 10
    with pytest.raises(UserError, match=r"One epoch takes about \d+ s here; the budget is 5 s") as refused:
        recipe.epochs_within(request, 5, 1000.0)
    assert "--budget" in refused.value.fix


@pytest.mark.parametrize(
    ("dials", "said"),
    [
        (Dials(method="full", rank=4), "--rank 4 has no meaning"),
        (Dials(rank=0), "--rank 0"),
        (Dials(epochs=0.0), "--epochs 0"),
        (Dials(learning_rate=2.0), "--learning-rate 2"),
    ],
)
def test_a_dial_out_of_range_is_refused_before_anything_is_read(task: Task, dials: Dials, said: str) -> None:
    with pytest.raises(UserError, match=said), recipe.workshop(task, dials, base="/no/such/base"):
        pass


def test_a_base_too_large_to_be_tuned_whole_is_refused_with_the_way_out(
    task: Task, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "MOST_TUNED_WHOLE", 1000)
    whole = recipe.workshop(task, Dials(method="full"), base=str(tiny_folder))
    with pytest.raises(UserError, match="tuned whole") as refused, whole:
        pass
    assert "--method lora" in refused.value.fix


def test_more_memory_than_is_free_is_refused(shop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("smallworks.engines.footprint.TRAINING_RUNTIME", 10**15)
    with pytest.raises(SmallworksError, match="GB are free"):
        recipe.preview(shop, Dials())


@pytest.mark.slow
def test_what_it_takes_is_measured_once_and_a_budget_sets_the_epochs(
    shop: Workshop, tiny_folder: Path
) -> None:
    seen, same = recipe.preview(shop, Dials(epochs=2.0))
    assert same.epochs == seen.epochs == 2 and seen.steps == 2 * 7
    assert seen.train + seen.validation + seen.too_long == 60 and seen.stop == "<|im_end|>"
    assert seen.supervised_per_row == 2 < seen.tokens_per_row
    assert seen.parameters == shape.read(tiny_folder).parameters and len(seen.rows) == 3
    again, given = recipe.preview(shop, Dials(), budget=3600)
    assert again.tokens_per_second == seen.tokens_per_second
    assert given.epochs == again.epochs == 10


@pytest.mark.slow
def test_the_candidate_is_frozen_and_agrees_with_its_golden_rows(task: Task, tiny_folder: Path) -> None:
    with recipe.workshop(task, Dials(method="dora", epochs=1.0), base=str(tiny_folder)) as shop:
        bundle, weights = recipe.tune(shop, Dials(method="dora", epochs=1.0))
        assert (weights.part, weights.steps) == ("model", 7)
    manifest = bundle.manifest
    assert manifest.lineage["method"] == "dora" and manifest.quantization is None
    assert (manifest.model, manifest.adapter, manifest.base) == ("model", None, None)
    _, parity = examine.verify(bundle.path)
    assert parity is not None and parity.holds and parity.rows == 24


@pytest.mark.slow
def test_a_build_takes_over_what_was_tuned(task: Task, tiny_folder: Path) -> None:
    dials = Dials(epochs=task.build.epochs)
    with recipe.workshop(task, dials, base=str(tiny_folder)) as shop:
        bundle, _ = recipe.tune(shop, dials)
    steps: set[str] = set()
    only = Options(only=("lm-lora",), base=str(tiny_folder))
    table = build(task, only, progress=lambda step, *_: steps.add(step))
    assert table.rows[0].bundle == bundle.path
    assert steps == {"data", "evaluate-lm-lora", "report"}
