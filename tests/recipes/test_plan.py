"""The plan: which candidates, on which engine, and the reason where one cannot run here."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from smallworks.bundle import Base
from smallworks.data import Splits
from smallworks.data.report import DataReport
from smallworks.engines.base import BaseModel
from smallworks.errors import UserError
from smallworks.recipes.plan import (
    CANDIDATES,
    CASCADES,
    MOST_TUNED_WHOLE,
    RETRIEVAL,
    Planned,
    engine,
    family,
    plan,
    select,
)
from smallworks.types import DataFiles, Example, ExampleId, Flagship, Targets, Task

ROWS = tuple(Example(id=ExampleId(str(i)), inputs={"x": "some words"}, output="a") for i in range(10))
SPLITS = Splits(
    train=ROWS * 20,
    validation=ROWS,
    test=ROWS,
    labels=("a", "b"),
    report=DataReport(notices=(), sizes={}, classes={}, columns={}),
    fingerprint="f",
)
TASK = Task(
    name="t",
    kind="classify",
    instruction="Do it.",
    folder=Path(),
    data=DataFiles(train=Path("train.csv")),
    targets=Targets(metric="accuracy"),
)
FOLDER = BaseModel(path=Path("m"), pin=Base(source="folder", ref="m", sha256="0"), parameters=10**7)
GGUF = replace(FOLDER, pin=Base(source="gguf", ref="m.gguf", sha256="0"))


def planned(task: Task = TASK, base: BaseModel | None = FOLDER, **options: Any) -> dict[str, Planned]:
    return {p.name: p for p in plan(task, SPLITS, base, **{"embedder": "e", **options})}


def without(monkeypatch: pytest.MonkeyPatch, *modules: str) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in modules else found(name))


@pytest.mark.parametrize(
    ("only", "skip", "expected"),
    [
        ((), (), CANDIDATES),
        (("majority", "linear"), (), ("majority", "linear")),
        (("linear", "majority"), (), ("majority", "linear")),
        (("lm-*",), ("*-q?_0",), ("lm-zero", "lm-few", "lm-lora", "lm-full")),
        (("lm-lora*",), (), ("lm-lora", "lm-lora-q8_0", "lm-lora-q4_0")),
        ((), ("lm-*", "fused", "flagship", "cascade-*", "retrieval"), ("majority", "linear")),
        (("lm-zero+retrieval", "linear+synthetic"), (), ("linear", "lm-zero")),
        (("lm-zero",), ("lm-zero+retrieval",), ("lm-zero",)),
        (("cascade-*",), ("cascade-lm",), ("cascade-fused", "cascade-flagship")),
    ],
)
def test_names_and_patterns_pick(only: Any, skip: Any, expected: Any) -> None:
    assert select(only, skip) == expected


def test_a_selection_of_nothing_is_refused() -> None:
    with pytest.raises(UserError, match="Every candidate is skipped"):
        select(("linear",), ("linear",))


@pytest.mark.parametrize(
    ("pattern", "offered"),
    [
        ("liner", "'linear'"),
        ("lm-loar", "'lm-lora'"),
        ("x*", "Valid"),
        ("lm-zero+retrievel", "'lm-zero+retrieval'"),
    ],
)
def test_a_name_that_is_no_candidate_gets_the_nearest(pattern: str, offered: str) -> None:
    for arguments in (((pattern,), ()), ((), (pattern,))):
        with pytest.raises(UserError, match="no candidate") as caught:
            select(*arguments)
        assert pattern in caught.value.what and offered in caught.value.fix


def test_the_whole_table_is_planned() -> None:
    names = planned()
    assert tuple(names) == tuple(name for name in CANDIDATES if name != RETRIEVAL) and len(names) == 19
    assert {name for name, p in names.items() if p.skipped} <= {"flagship", "fused", *CASCADES}


@pytest.mark.parametrize(
    ("name", "of", "on"),
    [
        ("majority", "majority", "linear"),
        ("fused", "fused", "onnx"),
        ("lm-few", "lm-few", "transformers"),
        ("lm-lora-q4_0", "lm-lora", "llamacpp"),
        ("lm-full", "lm-full", "transformers"),
        ("lm-full-q8_0", "lm-full", "llamacpp"),
        ("cascade-lm", "cascade", "cascade"),
        ("flagship", "flagship", "http"),
    ],
)
def test_each_has_its_family_and_engine(name: str, of: str, on: str) -> None:
    assert (family(name), engine(name, FOLDER)) == (of, on)


def test_with_documents_models_read_passages_and_one_is_asked_without() -> None:
    answering = replace(TASK, kind="answer", targets=Targets(metric="token_f1"))
    grounded = replace(answering, data=replace(TASK.data, documents=Path("handbook")))
    only = ("retrieval", "lm-zero*", "lm-lora")
    names = planned(grounded, only=only)
    assert list(names) == [
        "retrieval",
        "lm-zero",
        "lm-zero+retrieval",
        "lm-zero-q8_0+retrieval",
        "lm-zero-q4_0+retrieval",
        "lm-lora+retrieval",
    ]
    assert names["retrieval"].skipped is None and names["lm-lora+retrieval"].family == "lm-lora"
    assert "documents" in (planned(answering, only=only)["retrieval"].skipped or "")
    assert "documents" in (planned(only=("retrieval",))["retrieval"].skipped or "")
    with pytest.raises(UserError, match="Every candidate"):
        planned(skip=("majority", "linear", "fused", "lm-*", "flagship", "cascade-*"))


def test_a_name_that_the_table_shows_can_be_asked_for() -> None:
    data = replace(TASK.data, documents=Path("handbook"))
    grounded = replace(TASK, kind="answer", targets=Targets(metric="token_f1"), data=data)
    assert list(planned(grounded, only=("lm-zero+retrieval",))) == ["lm-zero+retrieval"]
    assert list(planned(grounded, only=("lm-zero",), skip=("*+retrieval",))) == ["lm-zero"]
    assert family("lm-lora-q8_0+retrieval") == family("lm-lora+retrieval") == "lm-lora"
    assert family("linear+synthetic") == "linear"
    with pytest.raises(UserError, match="Every candidate") as caught:
        planned(only=("lm-zero+retrieval",))
    assert "[data] documents" in caught.value.fix


@pytest.mark.parametrize("asked", ["url", "answers"])
def test_only_a_flagship_that_can_be_asked_reads_passages(asked: str) -> None:
    where: dict[str, Any] = {"url": "http://h/v1"} if asked == "url" else {"answers": Path("a.jsonl")}
    flagship = Flagship(name="f", input_price=1, output_price=1, **where)
    data = replace(TASK.data, documents=Path("handbook"))
    names = planned(replace(TASK, kind="answer", data=data, flagship=flagship), only=("flagship",))
    assert list(names) == ["flagship", "flagship+retrieval"][: 2 if asked == "url" else 1]


def test_synthetic_rows_make_twins_of_what_is_fitted_or_tuned() -> None:
    taught = replace(SPLITS, synthetic=ROWS)
    names = [p.name for p in plan(TASK, taught, FOLDER, embedder=None)]
    assert [name for name in names if name not in CANDIDATES] == ["linear+synthetic", "lm-lora+synthetic"]
    assert names.index("linear+synthetic") == names.index("linear") + 1
    only = plan(TASK, taught, None, embedder=None, only=("majority", "linear"))
    assert [p.name for p in only] == ["majority", "linear", "linear+synthetic"]
    assert only[1].family == only[2].family == "linear"


def test_a_gguf_base_answers_but_is_not_tuned() -> None:
    names = planned(base=GGUF)
    assert names["lm-zero"].skipped is None and names["lm-zero"].engine == "llamacpp"
    assert "GGUF" in (names["lm-lora"].skipped or "") and "GGUF" in (names["lm-zero-q8_0"].skipped or "")


def test_only_a_small_base_is_tuned_whole() -> None:
    most = replace(FOLDER, parameters=MOST_TUNED_WHOLE)
    assert planned(base=most)["lm-full"].skipped is None
    over = planned(base=replace(FOLDER, parameters=1_100_000_000))
    assert over["lm-full"].skipped == over["lm-full-q8_0"].skipped
    assert "1,100 million parameters; up to 200 million" in (over["lm-full"].skipped or "")
    assert over["lm-lora"].skipped is None


def test_few_rows_are_planned_with_the_epochs_that_the_tuning_gives_them() -> None:
    few = replace(SPLITS, train=ROWS * 4)
    ruled = {p.name: p for p in plan(TASK, few, FOLDER, embedder=None)}
    asked = replace(TASK, build=replace(TASK.build, epochs=10))
    assert (
        ruled["lm-lora"].seconds
        == {p.name: p for p in plan(asked, few, FOLDER, embedder=None)}["lm-lora"].seconds
    )


def test_labels_are_for_labelling() -> None:
    names = planned(replace(TASK, kind="generate"))
    assert all("generate" in (names[n].skipped or "") for n in ("majority", "linear", "fused"))
    assert names["lm-few"].skipped is None


@pytest.mark.parametrize(
    ("missing", "names", "extra"),
    [
        ("sklearn", ("linear", "fused"), "eval"),
        ("onnxruntime", ("fused",), "eval"),
        ("torch", ("lm-zero", "lm-lora", "fused"), "train"),
        ("peft", ("lm-lora", "lm-lora-q8_0", "lm-full-q4_0"), "train"),
    ],
)
def test_a_missing_library_is_a_reason_with_its_extra(
    monkeypatch: pytest.MonkeyPatch, missing: str, names: tuple[str, ...], extra: str
) -> None:
    without(monkeypatch, missing)
    rows = planned()
    assert all(f".[{extra}]" in (rows[name].skipped or "") for name in names)
    assert rows["majority"].skipped is None


def test_what_is_not_named_is_a_reason_with_the_way_to_name_it() -> None:
    assert "--embedder" in (planned(embedder=None)["fused"].skipped or "")
    assert "[flagship]" in (planned()["flagship"].skipped or "")
    assert planned(base=None)["lm-zero"].skipped
    priced = Flagship(name="big", input_price=1.0, output_price=2.0)
    assert planned(replace(TASK, flagship=priced))["flagship"].skipped
    live = replace(priced, url="http://localhost/v1")
    assert planned(replace(TASK, flagship=live))["flagship"].skipped is None


def test_estimates_grow_with_the_work() -> None:
    small, large = planned(), planned(base=replace(FOLDER, parameters=10**9))
    assert large["lm-lora"].seconds > large["lm-zero"].seconds > small["lm-zero"].seconds > 0
    assert small["lm-full"].memory_bytes > small["lm-lora"].memory_bytes > small["lm-zero"].memory_bytes
    assert large["lm-zero"].memory_bytes > 4e9 > small["lm-zero"].memory_bytes
    assert small["majority"].seconds < 10
    assert all(p.seconds == 0 and p.memory_bytes == 0 for p in small.values() if p.skipped)
