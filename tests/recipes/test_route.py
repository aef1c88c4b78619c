"""`smallworks route calibrate`: a table, a bundle or an honest no, on real bundles of the small task."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from smallworks import child, starter
from smallworks.bundle import Bundle, Calibration, freeze, open_bundle
from smallworks.cli import run
from smallworks.engines.linear import save
from smallworks.engines.opening import open_bundle as open_predictor
from smallworks.recipes import route
from smallworks.recipes.ways import Way
from smallworks.route import Promise, Routing, Stage, calibrate, parse
from smallworks.seams import silent
from smallworks.tune.linear import fit_linear
from smallworks.types import Example, ExampleId, Table, Task


@pytest.fixture(scope="module")
def fresh(small_table: Table, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tickets that no bundle of the small task was built on."""
    with (starter.TASKS["tickets"] / "test.csv").open(newline="", encoding="utf-8") as file:
        head, *rows = list(csv.reader(file))
    path = tmp_path_factory.mktemp("fresh") / "fresh.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([head, *rows[60:220]])
    return path


@pytest.fixture
def asked(small_table: Table, fresh: Path) -> list[str]:
    """Linear before the majority class: what no user would do, and where much can be foreseen."""
    paths = {row.name: str(row.bundle) for row in small_table.rows}
    return ["route", "calibrate", paths["linear"], paths["majority"], "--data", str(fresh)]


@pytest.fixture(scope="module")
def weak(small_table: Table, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A linear bundle of forty rows, which knows less than the one of the table."""
    folder = tmp_path_factory.mktemp("weak")
    with (starter.TASKS["tickets"] / "train.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))[300:340]
    labels = ("bug", "feature", "question")
    fit = fit_linear([row["text"] for row in rows], [row["label"] for row in rows], labels=labels)
    save(fit.head, folder / "draft" / "linear")
    linear = open_bundle(next(row.bundle for row in small_table.rows if row.name == "linear")).manifest
    calibration = Calibration(temperature=fit.temperature)
    weaker = replace(linear, candidate="weak", calibration=calibration, lineage={}, files={})
    return freeze(folder / "draft", weaker, into=folder)


def test_a_cascade_is_frozen_that_answers_and_names_its_promise(
    weak: Bundle, asked: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    promise = ["--promise", "12 points", "--costs", "1,100", "--out", str(tmp_path), "--json"]
    assert run([*asked[:2], str(weak.path), asked[2], *asked[4:], *promise]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["stages"] == ["weak", "linear"] and found["rows"] == 160 and found["promise"]["kept"]
    assert 0 < found["chosen"]["escalated"] < 1 and found["chosen"]["cost"] < found["last"]["cost"] == 0.1
    bundle = open_bundle(found["bundle"])
    assert "12 points" in (bundle.path / "README.md").read_text(encoding="utf-8")
    assert list(bundle.manifest.thresholds.values()) == found["chosen"]["thresholds"]
    assert run(["verify", str(bundle.path)]) == 0


def test_two_at_once_into_one_folder_leave_each_others_draft(
    weak: Bundle, asked: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stages = (weak, open_bundle(asked[2]))
    examples = [
        Example(id=ExampleId(str(i)), inputs={"text": f"It broke {i}"}, output="bug") for i in range(3)
    ]
    made: list[Bundle | None] = []

    def freeze_at(threshold: float) -> Bundle | None:
        sure, ones = np.array([0.99, 0.5]), np.ones(2)
        early = Stage(name="weak", confidence=sure, score=ones, cost=1.0, ms=1.0)
        found = calibrate((early, replace(early, name="linear", cost=9.0)), parse("1 point"))
        at = next(one for one in found.mixes if one.thresholds == (threshold,))
        kept = replace(found, chosen=at)
        alone = Way(steps=((0,), (1,)), stages=())
        return route._freeze(stages, alone, kept, starter_task, examples, tmp_path, silent)[0]

    def during(*request: Any, **more: Any) -> Any:
        if not made:
            made.append(None)
            made[0] = freeze_at(0.995)
        return run_child(*request, **more)

    starter_task = cast(Task, None)
    run_child = child.run
    monkeypatch.setattr(child, "run", during)
    made.append(freeze_at(0.9))
    assert len({one.id for one in made if one}) == 2 and not list((tmp_path / ".smallworks").iterdir())


def test_a_gate_is_tried_and_one_that_was_kept_is_part_of_the_bundle(
    weak: Bundle, asked: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = list[Way]()

    def gated(found: Sequence[Way], promise: Promise, **_: Any) -> tuple[Routing, Way]:
        kept.extend(one for one in found if one.gate and 0 < one.stages[0].gate.skips.mean() < 1)
        routing, note = route_best(found, promise)[0], route_best(found, promise)[1].notes[-1]
        assert "A gate by the input alone" in note
        at_all = calibrate(kept[0].stages, promise).mixes[-1]
        return replace(routing, chosen=at_all), kept[0]

    route_best = route.best_way
    monkeypatch.setattr(route, "best_way", gated)
    rows = Path(asked[-1])
    done = route.calibrate_bundles(
        [weak.path, Path(asked[2])], rows, parse("20 points"), gate=True, out=tmp_path, costs=(1, 100)
    )
    assert kept[0].gate and done.bundle and done.bundle.manifest.gate
    assert done.bundle.manifest.gate.at == kept[0].gate[1]
    assert list(done.bundle.manifest.thresholds.values()) == [0.0]
    with rows.open(newline="", encoding="utf-8") as file, open_predictor(done.bundle) as cascade:
        said = cascade.answers([row["text"] for row in csv.DictReader(file)])
    assert {len(answer.spent) for answer in said} == {1}
    assert {answer.stage for answer in said} == {"weak", "linear"}
    assert run(["verify", str(done.bundle.path)]) == 0


def test_one_stage_that_is_enough_needs_no_cascade(
    asked: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*asked, "--costs", "1,100", "--out", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "●" in said and "majority alone" in said and "the oracle" in said
    assert "That is linear alone" in said and not list(tmp_path.iterdir())


def test_too_few_rows_end_with_3_and_say_how_many(
    asked: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    turned = [*asked[:2], asked[3], asked[2], *asked[4:]]
    assert run([*turned, "--promise", "0.5 points", "--costs", "1,100"]) == 3
    said = capsys.readouterr().out
    assert "not shown" in said and "rows" in said and "bundle" not in said


def test_the_best_stage_belongs_last(asked: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*asked, "--promise", "at least 0.68", "--costs", "1,100"]) == 3
    assert "Put the best stage last" in capsys.readouterr().out


def test_rows_that_a_stage_was_fitted_on_are_refused(
    asked: list[str], small_task: Task, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*asked[:-1], str(small_task.folder / "train.csv")]) == 2
    assert "golden rows" in capsys.readouterr().err


def test_bundles_of_another_task_are_no_stages(
    asked: list[str], small_task: Task, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*asked[:3], asked[2], *asked[4:]]) == 2
    assert "named twice" in capsys.readouterr().err
    assert open_bundle(asked[2]).manifest.task == small_task.name
