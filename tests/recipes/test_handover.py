"""Cascades of a build: thresholds from held-out rows, rows on the table, reasons where they would not pay."""

from __future__ import annotations

import csv
import json
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from xml.etree import ElementTree

import numpy as np
import pytest

from smallworks import settings, starter, taskfile
from smallworks.bundle import Bundle, Calibration, open_bundle
from smallworks.engines.fake import Fake
from smallworks.engines.predictor import Predictor
from smallworks.evaluate import records
from smallworks.evaluate.records import read
from smallworks.prompt import Renderer
from smallworks.recipes import handover, mixes, ways
from smallworks.recipes.build import Options, build, finished
from smallworks.recipes.handover import PROMISE
from smallworks.recipes.plan import CASCADES
from smallworks.recipes.workshop import Workshop
from smallworks.route import Routing, calibrate
from smallworks.server import background, create_app
from smallworks.types import Choices, Estimate, ExampleId, Prompt, Record, Row, Table, Targets, Task

ONLY = Options(only=("majority", "linear", "flagship", "cascade-*"))
FLAGSHIP = '[flagship]\nname = "big"\ninput_price = 3.0\noutput_price = 15.0\n'


def rows_of(folder: Path, *names: str) -> list[dict[str, str]]:
    found = []
    for name in names:
        with (folder / f"{name}.csv").open(newline="", encoding="utf-8") as file:
            found += list(csv.DictReader(file))
    return found


def copied(task: Task, folder: Path, flagship: str) -> Task:
    """The same task with what was built of it, and a flagship; its answers are still to be written."""
    shutil.copytree(task.folder, folder)
    (folder / "answers.jsonl").touch()
    text = (task.folder / "task.toml").read_text(encoding="utf-8")
    (folder / "task.toml").write_text(text + FLAGSHIP + flagship, encoding="utf-8")
    return taskfile.load_task(folder)


def row(table: Table, name: str) -> Row:
    return next(r for r in table.rows if r.name == name)


@pytest.fixture(scope="module")
def recorded(
    small_task: Task, small_table: Table, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Task, Table]:
    """A flagship that was right on nineteen of twenty rows, training rows among them."""
    folder = tmp_path_factory.mktemp("recorded") / "task"
    task = copied(small_task, folder, 'answers = "answers.jsonl"\n')
    with (folder / "answers.jsonl").open("w", encoding="utf-8") as file:
        for number, one in enumerate(rows_of(folder, "train", "test")):
            said = "bug" if number % 20 == 0 else one["label"]
            file.write(json.dumps({"input": one["text"], "output": said}) + "\n")
    return task, build(task, ONLY)


def test_recorded_answers_make_a_row_that_cannot_be_served(recorded: tuple[Task, Table]) -> None:
    table = recorded[1]
    one, linear, flagship = (row(table, name) for name in ("cascade-flagship", "linear", "flagship"))
    assert one.bundle is None and "not to be served" in one.notes[-1]
    assert linear.metric.value < one.metric.value <= 1 and one.metric.n == 60
    assert linear.cost_per_1000 < one.cost_per_1000 < flagship.cost_per_1000
    share = sum(r.stage == "flagship" for r in read(one.records)) / 60
    expected = linear.cost_per_1000 + share * flagship.cost_per_1000
    assert 0 < share < 1 and one.cost_per_1000 == pytest.approx(expected)
    assert f"{100 * share:.1f} % of the test rows" in one.notes[0]


def test_too_few_held_out_rows_promise_nothing_and_the_row_says_so(recorded: tuple[Task, Table]) -> None:
    notes = row(recorded[1], "cascade-flagship").notes
    assert re.search(
        r"promise: none: at most 1 point .* about [\d,]+ rows would show it, by \d+ held", notes[1]
    )


def test_a_cascade_without_its_stages_says_what_it_needs(recorded: tuple[Task, Table]) -> None:
    assert row(recorded[1], "cascade-fused").skipped == "needs fused on the table"
    assert row(recorded[1], "cascade-lm").skipped == "needs lm-lora on the table"


def test_the_table_comes_back_with_its_mixes(recorded: tuple[Task, Table]) -> None:
    task, table = recorded
    assert finished(task, ONLY) == table and row(table, "cascade-flagship").mixes.is_file()


def test_the_picture_shows_every_mix_the_choice_and_the_oracle(recorded: tuple[Task, Table]) -> None:
    (found,) = mixes.of_table(recorded[1])
    drawn = ElementTree.fromstring(mixes.draw(found))
    assert len(drawn.findall(".//circle[@class='ring']")) == 1
    assert len(drawn.findall(".//g")) == len(found.points) + 3
    words = [mark.text for mark in drawn.iter("text")]
    assert {"chosen", "oracle", "flagship alone", "linear alone"} <= set(words)
    assert not re.search(r"href|url\(|style=|id=", mixes.draw(found))
    assert "too few to promise" in mixes.said(found)
    page = recorded[1].report.read_text(encoding="utf-8")
    assert "cascade-flagship: when to hand over" in page and mixes.draw(found) in page


def said(name: str, rows: Sequence[int], wrong: Sequence[int] = ()) -> dict[ExampleId, Record]:
    """What a stage said on rows, sure of all."""
    records = (
        Record(
            example_id=ExampleId(str(i)),
            prompt_hash="",
            expected="a",
            raw="a",
            parsed="a",
            lenient="a",
            scores={"accuracy": float(i not in wrong)},
            tokens_in=0,
            tokens_out=0,
            ms=0.0,
            probabilities=None if name == "flagship" else {"a": 0.9, "b": 0.1},
        )
        for i in rows
    )
    return {one.example_id: one for one in records}


def first_of(**held: dict[ExampleId, Record]) -> tuple[str, int, int]:
    firsts = [Row(name=name, kind=name, engine=name) for name in held if name != "flagship"]
    best, rows, compared = handover._best(firsts, Row(name="flagship", kind="", engine=""), held)
    return best.name, len(rows), compared


def test_the_early_stage_is_chosen_on_the_rows_that_all_were_asked() -> None:
    every, hard = range(100), range(60, 100)
    linear = said("linear", every, wrong=range(70, 100))
    fused = said("fused", hard, wrong=range(80, 100))
    # right on 0.70 of all against 0.50 of the forty hard ones, of which linear has 0.25
    assert first_of(linear=linear, fused=fused, flagship=said("flagship", every)) == ("fused", 40, 2)


def test_a_stage_that_was_asked_too_little_is_not_compared() -> None:
    linear, fused = said("linear", range(100), wrong=range(10)), said("fused", range(5))
    assert first_of(linear=linear, fused=fused, flagship=said("flagship", range(100))) == ("linear", 100, 1)


def test_stages_that_were_asked_different_rows_are_chosen_by_how_many() -> None:
    linear, fused = said("linear", range(60)), said("fused", range(50, 200), wrong=range(50, 200))
    assert first_of(linear=linear, fused=fused, flagship=said("flagship", range(200))) == ("fused", 150, 1)


def test_the_stages_that_were_compared_share_the_luck(monkeypatch: pytest.MonkeyPatch) -> None:
    held = {name: said(name, range(60)) for name in ("linear", "fused")}
    held["flagship"] = said("flagship", range(60), wrong=range(6))
    asked: list[int] = []

    def counted(*stages: Any, choices: int = 1, **more: Any) -> Routing:
        asked.append(choices)
        return calibrate(*stages, choices=choices, **more)

    monkeypatch.setattr(handover, "_held", lambda shop, row: held[row.name])
    monkeypatch.setattr(ways, "calibrate", counted)
    right = Estimate(value=0.9, low=0.8, high=1.0, n=60)
    table = [
        Row(name=name, kind="", engine="", metric=right, bundle=Path(name), cost_per_1000=float(cost))
        for cost, name in enumerate(held)
    ]
    shop = SimpleNamespace(task=SimpleNamespace(kind="classify", targets=Targets(metric="accuracy")))
    one = handover.cascade_row(cast(Workshop, shop), "cascade-flagship", table)
    assert one.skipped and "handing over gains nothing" in one.skipped and asked == [2]


def test_recorded_answers_to_test_rows_alone_give_no_thresholds(
    small_task: Task, small_table: Table, tmp_path: Path
) -> None:
    task = copied(small_task, tmp_path / "task", 'answers = "answers.jsonl"\n')
    said = [{"input": one["text"], "output": one["label"]} for one in rows_of(task.folder, "test")]
    (task.folder / "answers.jsonl").write_text("\n".join(map(json.dumps, said)), encoding="utf-8")
    reason = row(build(task, ONLY), "cascade-flagship").skipped
    assert "0 held-out rows" in reason and "record its answers to training rows" in reason


class Knowing(Fake):
    """Labels a prompt as the ticket that stands in it."""

    def score(self, prompts: Sequence[Prompt], choices: Choices) -> np.ndarray:
        known = {one["text"]: one["label"] for one in rows_of(starter.TASKS["tickets"], "train", "test")}
        right = [next((known[text] for text in known if text in p.text), "") for p in prompts]
        sure = [[0.98 if label == one else 0.01 for label in choices.labels] for one in right]
        return np.log(np.array(sure) / np.sum(sure, axis=1, keepdims=True))


@pytest.fixture
def served(small_table: Table, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A server of our own that knows every row by heart: the flagship for a day."""
    linear = open_bundle(row(small_table, "linear").bundle).manifest
    manifest = replace(linear, candidate="big", engine="fake", calibration=Calibration(), files={})
    big = Predictor(manifest=manifest, model=Knowing(), renderer=Renderer(manifest.prompt))
    with background(create_app({"big": big}, default="big")) as url:
        monkeypatch.setenv(settings.UPSTREAMS, f"{url}/v1")
        yield url


@pytest.mark.slow
def test_a_server_as_the_last_stage_makes_a_bundle_that_is_priced_by_its_share(
    small_task: Task, small_table: Table, served: str, tmp_path: Path
) -> None:
    task = copied(small_task, tmp_path / "task", f'url = "{served}/v1"\n')
    with (starter.TASKS["tickets"] / "train.csv").open(newline="", encoding="utf-8") as file:
        lines = list(csv.reader(file))
    with (task.folder / "more.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([lines[0], *lines[300:380]])
    task = replace(task, data=replace(task.data, validation=task.folder / "more.csv"))
    table = build(task, Options(only=("linear", "flagship", "cascade-flagship")))
    one, flagship = row(table, "cascade-flagship"), row(table, "flagship")
    assert one.skipped is None, one.skipped
    bundle: Bundle = open_bundle(one.bundle)
    assert [stage.name for stage in bundle.manifest.stages] == ["linear", "flagship"]
    assert one.cost_per_1000 < flagship.cost_per_1000 and one.parity.holds


def test_the_names_are_candidates_like_any_other(recorded: tuple[Task, Table]) -> None:
    assert [r.name for r in recorded[1].rows if r.kind == "cascade"] == list(CASCADES)


def wrote(rows: Sequence[int], *, right: Sequence[int], sure: bool = False) -> dict[ExampleId, Record]:
    """What a stage wrote: half of it right where it is not `right`; surer where it is, if it tells at all."""
    told = said("flagship", rows)
    return {
        i: replace(
            one,
            scores={"token_f1": 1.0 if int(i) in right else 0.5, "exact_match": 0.0, "rouge_l": 0.5}
            | {"exact_match_lenient": 0.0},
            signals={"likelihood": 0.9 if int(i) in right else 0.2 + int(i) / 10_000} if sure else None,
        )
        for i, one in told.items()
    }


def test_what_is_written_goes_to_the_flagship_where_its_tokens_are_unsure(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("sklearn")
    every, test = range(300), range(300, 360)
    held = {
        "lm-lora-q8_0": wrote(every, right=[i for i in every if i % 3], sure=True),
        "flagship": wrote(every, right=every),
    }
    early, late = wrote(test, right=[i for i in test if i % 3], sure=True), wrote(test, right=test)
    records.write(tmp_path / "late.jsonl", list(late.values()))
    monkeypatch.setattr(handover, "_held", lambda shop, row: held[row.name])
    monkeypatch.setattr(handover, "_on_test", lambda shop, row: list(early.values()))
    metric = Estimate(value=0.9, low=0.8, high=1.0, n=60)
    cheap = Row(name="lm-lora-q8_0", kind="", engine="", metric=metric, bundle=tmp_path, cost_per_1000=0.1)
    dear = Row(name="flagship", kind="", engine="", metric=metric, cost_per_1000=9.0)
    shop = SimpleNamespace(
        task=SimpleNamespace(kind="generate", targets=Targets(metric="token_f1")),
        steps=SimpleNamespace(folder=tmp_path),
        data_key="key",
    )
    table = [cheap, replace(dear, records=tmp_path / "late.jsonl")]
    one = handover.cascade_row(cast(Workshop, shop), "cascade-flagship", table)
    assert one.skipped is None and one.bundle is None and handover.RECORDED in one.notes
    assert "tokens" in one.notes[2] and "33.3 % of the test rows went to flagship" in one.notes[0]
    assert one.metric.value == 1.0 and one.cost_per_1000 == pytest.approx(0.1 + 9.0 / 3)
    (drawn,) = [mixes.read("c", one.mixes)]
    assert not drawn.counted and "mean score" in mixes.draw(drawn) and "scores" in mixes.said(drawn)
    alone = handover.cascade_row(cast(Workshop, shop), "cascade-flagship", table[1:])
    assert alone.skipped == "needs lm-zero on the table"


def test_what_is_asked_again_follows_from_the_wording_of_the_task(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    keys = list[dict[str, Any]]()

    def folder_of(step: str, reads: dict[str, Any]) -> Path:
        keys.append(reads)
        return tmp_path

    monkeypatch.setattr(handover, "open_bundle", lambda path: SimpleNamespace(id="1"))
    records.write(tmp_path / "records.jsonl", [])
    shop = SimpleNamespace(
        task=SimpleNamespace(
            kind="answer", refusal="Not in the text.", data=SimpleNamespace(documents=tmp_path)
        ),
        steps=SimpleNamespace(run=lambda *_: None, folder_of=folder_of),
        data_key="key",
    )
    written = Row(name="lm-lora", kind="", engine="", bundle=tmp_path, records=tmp_path)
    handover._held(cast(Workshop, shop), written)
    handover._on_test(cast(Workshop, shop), written)
    assert [(one["refusal"], one["rests_on"]) for one in keys] == [("Not in the text.", "documents")] * 2


def test_rows_that_fit_curves_do_not_count_in_what_groups_tell() -> None:
    pytest.importorskip("sklearn")
    every = range(120)
    early, last = wrote(every, right=every[::2], sure=True), wrote(every, right=every)
    grouped = [replace(one, group="g" if i < 40 else "") for i, one in enumerate(early.values())]
    (way,) = ways.ways(
        [grouped, list(last.values())],
        ("lm", "flagship"),
        (1.0, 9.0),
        (1.0, 1.0),
        score="token_f1",
        fitted=np.arange(120) < 40,
    )
    assert ways.best_way([way], PROMISE)[0].design == 1.0 and len(way.groups) == 80
