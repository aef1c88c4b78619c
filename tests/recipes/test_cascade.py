"""A cascade is a bundle like any other: checked, moved, replayed, measured, refused where it cannot go."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from smallworks import files, settings
from smallworks.bundle import Base, Bundle, Manifest, Remote, Stage, freeze, open_bundle
from smallworks.bundle.golden import read as read_golden
from smallworks.bundle.store import hash_weights
from smallworks.engines.opening import open_bundle as open_predictor
from smallworks.errors import BundleError
from smallworks.evaluate.records import read
from smallworks.recipes import examine
from smallworks.recipes.cascade import Plan, check_stages, freeze_cascade, inner, is_remote, plan_of
from smallworks.recipes.export import export
from smallworks.recipes.flagship import remote_choices
from smallworks.recipes.measure import disk_bytes
from smallworks.route.mixes import Mix
from smallworks.server import background, create_app
from smallworks.types import Choices, PromptSpec, Table, Task

TEXTS = ("It crashed when I saved.", "Please add a dark mode.", "How do I log in?", "hm", "Invoices")


def named(table: Table, name: str) -> Bundle:
    return open_bundle(next(row.bundle for row in table.rows if row.name == name))


@pytest.fixture(scope="module")
def stages(small_table: Table) -> tuple[Bundle, Bundle]:
    return named(small_table, "majority"), named(small_table, "linear")


def frozen(stages: tuple[Bundle, ...], into: Path, *, at: float = 0.9) -> Bundle:
    return freeze_cascade(
        Plan(stages=stages, thresholds=(at,)),
        candidate="cascade",
        into=into,
        scratch=into / "scratch",
        golden=[{"text": text} for text in TEXTS],
        lineage={"promise": "none"},
    )


@pytest.fixture(scope="module")
def cascade(stages: tuple[Bundle, Bundle], tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Linear first, sure enough now and then; else the majority class."""
    return frozen(stages[::-1], tmp_path_factory.mktemp("cascade"), at=0.6)


def test_it_is_verified_and_says_what_it_is_made_of(cascade: Bundle, stages: tuple[Bundle, Bundle]) -> None:
    opened, parity = examine.verify(cascade.path)
    assert parity and parity.holds and parity.rows == len(TEXTS)
    assert [stage.id for stage in inner(opened)] == [stages[1].id, stages[0].id]
    assert "linear → majority" in (cascade.path / "README.md").read_text(encoding="utf-8")
    assert not (cascade.path.parent / "scratch").exists()


def test_it_answers_as_its_stages_do(cascade: Bundle, stages: tuple[Bundle, Bundle]) -> None:
    with open_predictor(cascade) as whole, open_predictor(stages[1]) as linear:
        for text in TEXTS:
            said, alone = whole.answer({"text": text}), linear.answer({"text": text})
            sure = max(alone.probabilities.values()) >= 0.6
            assert said.stage == ("linear" if sure else "majority")
            assert said.probabilities == alone.probabilities or not sure


def test_it_is_measured_like_any_bundle(cascade: Bundle, small_task: Task, tmp_path: Path) -> None:
    seen = examine.evaluate(cascade, small_task.folder, out=tmp_path / "records.jsonl")
    assert seen.parity and seen.parity["holds"]
    kept = read(tmp_path / "records.jsonl")
    assert {record.stage for record in kept} == {"linear", "majority"} and len(kept) == 60


def test_a_changed_byte_in_a_stage_is_refused(cascade: Bundle, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(cascade.path, moved)
    assert open_bundle(moved).id == cascade.id
    file = moved / "stages" / "1" / "bundle.json"
    file.write_text(file.read_text(encoding="utf-8").replace('"linear"', '"liner"'), encoding="utf-8")
    with pytest.raises(BundleError, match=r"stages/1/bundle.json"):
        open_bundle(moved)


def test_the_same_stages_give_the_same_cascade(
    cascade: Bundle, stages: tuple[Bundle, Bundle], tmp_path: Path
) -> None:
    assert frozen(stages[::-1], tmp_path, at=0.6).id == cascade.id


def test_it_takes_the_disk_of_its_stages_once(cascade: Bundle, stages: tuple[Bundle, Bundle]) -> None:
    assert disk_bytes(cascade) == files.size_of(cascade.path)
    assert disk_bytes(cascade) > sum(disk_bytes(stage) for stage in stages)


def on_a_base(folder: Path, weights: Path, candidate: str) -> Bundle:
    (folder / "draft").mkdir(parents=True)
    manifest = Manifest(
        task="small",
        kind="classify",
        candidate=candidate,
        engine="transformers",
        prompt=PromptSpec(style="raw", kind="classify", choices=Choices(labels=("a", "b"))),
        inputs=("text",),
        base=Base(source="folder", ref=str(weights), sha256=hash_weights(weights)),
    )
    return freeze(folder / "draft", manifest, into=folder)


def test_a_base_that_two_stages_share_is_on_the_disk_once(tmp_path: Path) -> None:
    weights = tmp_path / "base"
    weights.mkdir()
    (weights / "model.safetensors").write_bytes(bytes(50_000))
    two = [on_a_base(tmp_path / name, weights, name) for name in ("one", "two")]
    for number, bundle in enumerate(two, 1):
        shutil.copytree(bundle.path, tmp_path / "draft" / "stages" / str(number))
    whole = replace(
        two[0].manifest,
        candidate="cascade",
        engine="cascade",
        base=None,
        files={},
        thresholds={"stages/1": 0.5},
        stages=tuple(Stage(name=b.name, path=f"stages/{i}", id=b.id) for i, b in enumerate(two, 1)),
    )
    cascade = freeze(tmp_path / "draft", whole, into=tmp_path)
    assert disk_bytes(cascade) == files.size_of(cascade.path) + 50_000


@pytest.mark.parametrize("to", ["hf", "onnx", "docker", "ollama", "llama.cpp"])
def test_it_is_not_exported_and_says_what_to_do(cascade: Bundle, to: str, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="hands over between its stages") as refused:
        export(cascade.path, to, tmp_path / "out")  # type: ignore[arg-type]
    assert "smallworks serve" in refused.value.fix


def mix(*thresholds: float | None) -> Mix:
    return Mix(
        thresholds=thresholds, shares=(1.0,), quality=1.0, losses=0, gains=0, n=9, cost=1.0, p95_ms=1.0
    )


def test_only_the_stages_that_take_part_are_copied_in(stages: tuple[Bundle, Bundle]) -> None:
    three = (*stages, stages[0])
    assert plan_of(three, mix(None, 0.8)) == Plan(stages=three[1:], thresholds=(0.8,))
    assert plan_of(three, mix(0.7, 0.0)) == Plan(stages=three[:2], thresholds=(0.7,))
    assert plan_of(three, mix(0.0, None)) is None


def test_one_that_answers_from_0_on_still_hands_over_what_it_keeps_back(
    stages: tuple[Bundle, Bundle],
) -> None:
    kept = replace(mix(0.0), shares=(0.9985, 0.0015))
    assert plan_of(stages, kept) == Plan(stages=stages, thresholds=(0.0,))
    three = (*stages, stages[0])
    between = replace(mix(0.0, 0.7), shares=(0.9985, 0.0015, 0.0))
    assert plan_of(three, between) == Plan(stages=three, thresholds=(0.0, 0.7))


def test_the_same_bundle_twice_is_no_cascade(stages: tuple[Bundle, Bundle]) -> None:
    with pytest.raises(BundleError, match="named twice"):
        check_stages((stages[0], stages[0]))


@pytest.fixture
def flagship(
    stages: tuple[Bundle, Bundle], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Bundle]:
    """The linear bundle behind a server of our own, as a bundle that asks it over HTTP."""
    with (
        open_predictor(stages[1]) as linear,
        background(create_app({"big": linear}, default="big")) as url,
    ):
        monkeypatch.setenv(settings.UPSTREAMS, f"{url}/v1")
        choices = remote_choices(stages[1].manifest.prompt.choices.labels)
        spec = PromptSpec(style="chat", kind="classify", choices=choices)
        manifest = Manifest(
            task="small",
            kind="classify",
            candidate="flagship",
            engine="http",
            prompt=spec,
            inputs=stages[1].manifest.inputs,
            remote=Remote(url=f"{url}/v1", model="big"),
        )
        (tmp_path / "draft").mkdir()
        yield freeze(tmp_path / "draft", manifest, into=tmp_path)


def test_a_server_may_be_the_last_stage_and_gives_no_golden_rows(
    stages: tuple[Bundle, Bundle], flagship: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = frozen((stages[1], flagship), tmp_path / "out", at=0.6)
    assert is_remote(whole) and 0 < len(read_golden(whole.path)) < len(TEXTS)
    with open_predictor(whole) as predictor:
        said = predictor.answers([{"text": text} for text in TEXTS])
        asked, _, _ = predictor.model.spent()
    assert {answer.stage for answer in said} == {"linear", "flagship"}
    assert asked >= sum(answer.stage == "flagship" for answer in said)
    monkeypatch.delenv(settings.UPSTREAMS)
    with pytest.raises(BundleError, match="sends every input"):
        open_predictor(whole)
