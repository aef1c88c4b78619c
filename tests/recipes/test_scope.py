"""A build of a task with rows out of scope: a threshold in the bundle, its two shares on the table."""

from __future__ import annotations

import csv
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import smallworks as sw
from smallworks import taskfile
from smallworks.bundle import open_bundle
from smallworks.bundle.golden import read
from smallworks.cli import table as shown
from smallworks.evaluate.intervals import wilson
from smallworks.recipes import examine, measure
from smallworks.recipes.build import Options, build
from smallworks.recipes.cascade import freeze_cascade, plan_of, scope_of
from smallworks.recipes.measure import judge
from smallworks.route.mixes import Mix
from smallworks.types import LOSS, RECALL, Row, Table, Targets

pytest.importorskip("sklearn")

WORDS = {
    "bug": ["crash", "broken", "error", "fails", "freezes", "stuck"],
    "feature": ["please", "add", "support", "would", "wish", "allow"],
    "question": ["how", "where", "what", "can", "does", "which"],
}
FAR = "qwertz {} zylinder uvwxyz kwik"
TOML = """
[task]
name = "small"
kind = "classify"
instruction = "Name the kind of the ticket."
[data]
train = "train.csv"
test = "test.csv"
out_of_scope = "none"
[targets]
in_scope_loss = 0.1
"""


@pytest.fixture(scope="module")
def scoped(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Table]:
    """Tickets of a few telling words, and rows of no ticket at all."""
    folder, draw = tmp_path_factory.mktemp("scoped"), np.random.default_rng(0)
    (folder / "task.toml").write_text(TOML)
    for name, each, outside in (("train", 40, range(40)), ("test", 20, range(40, 60))):
        rows = [
            (" ".join(draw.choice(words, 4)), label) for label, words in WORDS.items() for _ in range(each)
        ]
        rows += [(FAR.format(i), "none") for i in outside]
        with (folder / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([("text", "label"), *rows])
    return folder, build(taskfile.load_task(folder), Options(only=("majority", "linear")))


def row(table: Table, name: str) -> Row:
    return next(r for r in table.rows if r.name == name)


def test_recall_and_loss_stand_on_the_table(
    scoped: tuple[Path, Table], capsys: pytest.CaptureFixture[str]
) -> None:
    linear, majority = row(scoped[1], "linear"), row(scoped[1], "majority")
    assert linear.metrics[RECALL].n == 20 and linear.metrics[LOSS].n == linear.metric.n == 60
    assert linear.metrics[RECALL].value >= 0.9 and linear.metrics[LOSS].low <= 0.1
    assert any(note.startswith("scope: abstains where") for note in linear.notes)
    assert LOSS not in majority.metrics and not any("scope" in note for note in majority.notes)
    assert linear.verdict and linear.verdict.outcome == "pass" and LOSS in linear.verdict.reason
    assert majority.verdict is None, "nothing is handed over"
    shown.show(scoped[1])
    assert "handed over" in capsys.readouterr().out


def test_a_loss_above_its_limit_fails_and_stands_in_the_note(scoped: tuple[Path, Table]) -> None:
    bundle, lost = open_bundle(row(scoped[1], "linear").bundle), {LOSS: wilson(30, 60)}
    judged = judge(Targets(metric="accuracy", in_scope_loss=0.05), lost, None, None, None)
    assert judged and judged.outcome == "fail"
    *_, note = measure._in_scope(bundle, lost, 0.05)
    assert note == "hands over 50.0 % (37.7–62.3) of the 60 rows in scope: over the limit of 5 %"


def test_the_bundle_says_so_and_its_golden_rows_hold_it_to_that(scoped: tuple[Path, Table]) -> None:
    bundle = open_bundle(row(scoped[1], "linear").bundle)
    assert bundle.manifest.scope and bundle.manifest.scope.label == "none"
    golden = read(bundle.path)
    assert {g.abstain for g in golden} == {True, False}
    assert examine.verify(bundle.path)[1].holds
    with sw.load(bundle.path) as model:
        assert model.answer(FAR.format(99)).abstain is True
        moved = replace(model.manifest, scope=replace(bundle.manifest.scope, at=1e9))
        wrong = [replace(model, manifest=moved).golden(g.inputs) for g in golden]
    assert all(g.abstain for g in wrong)


def test_a_file_with_rows_out_of_scope_is_measured_as_the_build_did(scoped: tuple[Path, Table]) -> None:
    folder, table = scoped
    linear = row(table, "linear")
    seen = examine.evaluate(open_bundle(linear.bundle), folder / "test.csv")
    for name in ("accuracy", RECALL, LOSS):
        assert seen.scorecard["metrics"][name]["value"] == linear.metrics[name].value
    assert len(seen.records) == 60


def test_rows_out_of_scope_are_known_where_no_task_is_near(
    scoped: tuple[Path, Table], tmp_path: Path
) -> None:
    """Also to a bundle that keeps nothing back."""
    moved = shutil.copytree(row(scoped[1], "majority").bundle, tmp_path / "majority")
    assert len(examine.evaluate(open_bundle(moved), scoped[0] / "test.csv").records) == 60


def test_a_cascade_hands_such_rows_on_and_the_last_stage_to_a_person(
    scoped: tuple[Path, Table], tmp_path: Path
) -> None:
    stages = [open_bundle(row(scoped[1], name).bundle) for name in ("linear", "majority")]
    plan = plan_of(stages, _mix(0.05))
    made = freeze_cascade(
        plan,
        candidate="cascade",
        into=tmp_path / "bundles",
        scratch=tmp_path / "scratch",
        golden=[{"text": FAR.format(1)}, {"text": "crash error"}],
        lineage={},
    )
    assert scope_of(made) == stages[0].manifest.scope
    with sw.load(made.path) as model:
        answer = model.answer(FAR.format(7))
        assert (answer.stage, answer.abstain) == ("majority", False)
        assert model.answer("crash broken error fails").stage == "linear"
    back = freeze_cascade(
        plan_of(stages[::-1], _mix(0.99)),
        candidate="cascade",
        into=tmp_path / "bundles",
        scratch=tmp_path / "scratch",
        golden=[{"text": FAR.format(1)}],
        lineage={},
    )
    assert [g.abstain for g in read(back.path)] == [True]


def _mix(at: float) -> Mix:
    return Mix(thresholds=(at,), shares=(0.5, 0.5), quality=1.0, losses=0, gains=0, n=1, cost=0.0, p95_ms=0.0)
