"""The main journey, end to end: table, choice, bundles, the same on real children, re-run, failures."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import pytest

import smallworks as sw
from smallworks import taskfile
from smallworks.bundle import open_bundle
from smallworks.errors import ModelError, UserError
from smallworks.recipes import examine
from smallworks.recipes.build import Options, build, dry_run, finished
from smallworks.recipes.table import to_json
from smallworks.types import Table, Task

CHEAP = Options(only=("majority", "linear"))


def fresh(task: Task, folder: Path) -> Task:
    """The same task in a folder of its own, nothing built."""
    built = shutil.ignore_patterns(".smallworks", "bundles", "*.html")
    shutil.copytree(task.folder, folder, ignore=built)
    return taskfile.load_task(folder)


def row(table: Table, name: str):  # type: ignore[no-untyped-def]
    return next(r for r in table.rows if r.name == name)


def test_linear_beats_majority_and_is_chosen_with_a_reason(small_table: Table) -> None:
    assert row(small_table, "linear").metric.value > row(small_table, "majority").metric.value
    assert small_table.chosen_name == "linear"
    assert "accuracy" in small_table.why


def test_every_measured_row_has_all_that_the_table_promises(small_table: Table) -> None:
    for r in small_table.rows:
        assert r.metric.low <= r.metric.value <= r.metric.high and r.metric.n == 60
        assert 0 < r.latency.p50 <= r.latency.p95
        assert r.disk_bytes > 0 and r.peak_memory_bytes > 10e6 and r.cost_per_1000 > 0
        assert r.parity.holds and r.parity.rows == 24
        assert r.records.is_file()


def test_the_chosen_bundle_answers_from_python(small_table: Table) -> None:
    with sw.load(small_table.chosen) as model:
        answer = model.answer("The export button does nothing when I click it.")
    assert answer.text in ("bug", "feature", "question")
    assert sum(answer.probabilities.values()) == pytest.approx(1)


def test_a_second_build_computes_nothing(small_task: Task, small_table: Table) -> None:
    assert finished(small_task, CHEAP) == small_table
    steps: list[str] = []
    assert build(small_task, CHEAP, progress=lambda step, *_: steps.append(step)) == small_table
    assert steps == []


def test_a_bundle_that_was_deleted_is_made_again(
    tmp_path: Path, small_task: Task, small_table: Table
) -> None:
    folder = tmp_path / "task"
    shutil.copytree(
        small_task.folder, folder, ignore=shutil.ignore_patterns(".smallworks", "bundles", "*.html")
    )
    task = taskfile.load_task(folder)
    first = build(task, Options(only=("majority",)))
    shutil.rmtree(first.chosen)
    assert finished(task, Options(only=("majority",))) is None
    assert build(task, Options(only=("majority",))).chosen.is_dir()


@pytest.mark.usefixtures("children")
def test_the_same_rows_give_the_same_bundle_elsewhere_and_in_children(
    tmp_path: Path, small_task: Task, small_table: Table
) -> None:
    folder = tmp_path / "elsewhere"
    shutil.copytree(
        small_task.folder, folder, ignore=shutil.ignore_patterns(".smallworks", "bundles", "*.html")
    )
    again = build(taskfile.load_task(folder), Options(only=("linear",)))
    assert again.chosen.name == row(small_table, "linear").bundle.name


def test_a_changed_target_reuses_every_measurement(
    tmp_path: Path, small_task: Task, small_table: Table
) -> None:
    task = dataclasses.replace(small_task, targets=dataclasses.replace(small_task.targets, at_least=0.999))
    steps: list[str] = []
    table = build(task, CHEAP, progress=lambda step, *_: steps.append(step))
    assert row(table, "linear").verdict.outcome == "fail"
    assert set(steps) == {"data", "report"}
    build(small_task, CHEAP)


def test_fused_without_an_embedder_is_skipped_with_the_way_to_have_it(small_task: Task) -> None:
    planned = {p.name: p for p in dry_run(small_task, Options(only=("linear", "fused")))}
    assert "--embedder" in planned["fused"].skipped
    assert planned["linear"].skipped is None


def test_a_base_that_is_not_there_is_named(small_task: Task) -> None:
    with pytest.raises(ModelError, match="No base model at '/no/such/model'"):
        build(small_task, Options(only=("lm-zero",), base="/no/such/model"))


def test_an_unknown_candidate_offers_the_nearest(small_task: Task) -> None:
    with pytest.raises(UserError, match="Did you mean 'linear'"):
        build(small_task, Options(only=("lineer",)))


def test_the_json_document_has_what_the_issue_asks(small_table: Table) -> None:
    document = to_json(small_table)
    linear = next(c for c in document["candidates"] if c["name"] == "linear")
    assert set(linear["metric"]) >= {"value", "low", "high", "n"}
    assert {
        "kind",
        "latency",
        "disk_bytes",
        "peak_memory_bytes",
        "cost_per_1000",
        "verdict",
        "bundle",
    } <= set(linear)
    assert document["chosen"]["name"] == "linear" and document["chosen"]["why"]
    assert document["seconds"]["fit-linear"] > 0


def test_a_frozen_bundle_measures_the_same_again(small_table: Table) -> None:
    linear = row(small_table, "linear")
    seen = examine.evaluate(open_bundle(linear.bundle), None)
    assert seen.scorecard["metrics"]["accuracy"]["value"] == pytest.approx(linear.metric.value)


def test_a_comparison_is_paired(small_table: Table) -> None:
    done = examine.compare(row(small_table, "majority").bundle, row(small_table, "linear").bundle, None)
    assert done.difference.value == pytest.approx(done.b.value - done.a.value)
    assert done.test.lower().startswith("exact mcnemar") and done.p_value < 0.05


def test_verify_replays_the_golden_rows(small_table: Table) -> None:
    bundle, parity = examine.verify(small_table.chosen)
    assert bundle.path == small_table.chosen
    assert parity.holds and parity.texts_equal == parity.rows


def test_synthetic_rows_make_a_second_linear_and_touch_nothing_else(
    small_task: Task, small_table: Table, tmp_path: Path
) -> None:
    folder = shutil.copytree(small_task.folder, tmp_path / "task")  # with what was built already
    rows = [{"text": f"{word} {i}", "label": word} for word in ("bug", "feature") for i in range(20)]
    doubtful = {"text": "A doubt", "label": "bug", "teacher_probabilities": {"bug": 0.8, "question": 0.2}}
    (folder / "new.jsonl").write_text("".join(json.dumps(row) + "\n" for row in [*rows, doubtful]))
    text = (folder / "task.toml").read_text().replace("[data]", '[data]\nsynthetic = "new.jsonl"')
    (folder / "task.toml").write_text(text)
    table = build(taskfile.load_task(folder), CHEAP)
    assert [r.name for r in table.rows] == ["majority", "linear", "linear+synthetic"]
    assert row(table, "linear").bundle.name == row(small_table, "linear").bundle.name
    taught = open_bundle(row(table, "linear+synthetic").bundle).manifest
    plain = open_bundle(row(table, "linear").bundle).manifest
    assert taught.lineage["rows"] == plain.lineage["rows"] + 41
    assert row(table, "linear+synthetic").metric.n == row(table, "linear").metric.n
    assert row(table, "linear+synthetic").parity.holds


def test_recorded_flagship_answers_stand_on_the_table(tmp_path: Path) -> None:
    from smallworks.recipes.sample import lay_out

    table = build(lay_out("tickets", tmp_path / "tickets"), Options(only=("majority", "flagship")))
    flagship = row(table, "flagship")
    assert flagship.metric.value > 0.9 and flagship.bundle is None
    assert flagship.cost_per_1000 > row(table, "majority").cost_per_1000
    assert table.chosen_name == "majority"
    lineage = open_bundle(row(table, "majority").bundle).manifest.lineage
    assert lineage["flagship"] and lineage["flagship_input_price"] > 0
    assert lineage["flagship_per_1000"] == pytest.approx(flagship.cost_per_1000, rel=0.2)


@pytest.mark.slow
def test_language_models_from_zero_shot_to_four_bits(
    small_task: Task, tiny_folder: Path, tmp_path: Path
) -> None:
    """Every way to make a language-model candidate in one build, on a model of two layers."""
    folder = tmp_path / "lm"
    shutil.copytree(
        small_task.folder, folder, ignore=shutil.ignore_patterns(".smallworks", "bundles", "*.html")
    )
    task = taskfile.load_task(folder)
    short = dataclasses.replace(task, build=dataclasses.replace(task.build, epochs=1.0))
    names = ("lm-zero", "lm-few-q8_0", "lm-lora", "lm-lora-q4_0", "lm-full")
    table = build(short, Options(only=names, base=str(tiny_folder)))
    assert {r.name: r.skipped for r in table.rows if r.skipped} == {}
    assert sorted(r.name for r in table.rows) == sorted(names)
    for r in table.rows:
        assert r.parity.ids_equal == r.parity.rows == 24, r.name
        assert r.parity.holds, (r.name, r.parity)
    whole(row(table, "lm-full").bundle, tiny_folder)


def whole(path: Path, base: Path) -> None:
    """A model that was tuned whole refers to no base: every weight it answers with is its own."""
    bundle, parity = examine.verify(path)
    assert bundle.manifest.base is None and bundle.manifest.adapter is None
    assert "model/model.safetensors" in bundle.manifest.files
    assert bundle.manifest.lineage["base"] == str(base) and bundle.manifest.lineage["method"] == "full"
    assert parity.texts_equal == parity.rows == 24
