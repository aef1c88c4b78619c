"""A manifest goes to disk and comes back the same, whatever is in it; what does not read is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smallworks import files
from smallworks.bundle.manifest import (
    FORMAT,
    Base,
    Calibration,
    Gate,
    Manifest,
    Remote,
    Scope,
    Stage,
    Sureness,
    from_json,
    to_json,
)
from smallworks.bundle.store import identify
from smallworks.errors import BundleError
from smallworks.types import Choices, Columns, PromptSpec, Sampling

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=10)
TEXTS = st.lists(TEXT, max_size=4).map(tuple)
IDS = st.lists(st.integers(0, 200_000), max_size=4).map(tuple)
FLOATS = st.floats(-1e6, 1e6)
SCHEMA = st.none() | st.dictionaries(TEXT, TEXT | st.integers() | st.lists(TEXT, max_size=2), max_size=3)
SPECS = st.builds(
    PromptSpec,
    style=st.sampled_from(["raw", "chat"]),
    kind=st.sampled_from(["classify", "extract", "generate"]),
    instruction=TEXT,
    choices=st.none() | st.builds(Choices, labels=TEXTS, codes=TEXTS, ids=IDS),
    listed=st.booleans(),
    schema=SCHEMA,
    shots=st.lists(st.tuples(TEXT, TEXT), max_size=2).map(tuple),
)
SAMPLINGS = st.builds(
    Sampling,
    max_tokens=st.integers(1, 4096),
    temperature=st.floats(0, 2),
    top_p=st.floats(0, 1),
    seed=st.none() | st.integers(0, 2**32),
    stop=TEXTS,
    stop_ids=IDS,
    schema=SCHEMA,
)
MANIFESTS = st.builds(
    Manifest,
    task=TEXT,
    kind=st.sampled_from(["classify", "generate"]),
    candidate=TEXT,
    engine=st.sampled_from(["linear", "onnx", "llamacpp", "transformers", "http"]),
    prompt=SPECS,
    sampling=SAMPLINGS,
    inputs=TEXTS,
    model=st.none(),
    adapter=st.none(),
    base=st.none() | st.builds(Base, source=st.sampled_from(["starter", "hub"]), ref=TEXT, sha256=TEXT),
    remote=st.none() | st.builds(Remote, url=TEXT, model=TEXT, key_env=st.none() | TEXT),
    quantization=st.none() | st.sampled_from(["q8_0", "q4_0"]),
    calibration=st.builds(
        Calibration,
        temperature=st.floats(0.01, 10),
        isotonic=st.sampled_from([(), ((0.1, 0.2), (0.9, 0.7))]),
    ),
    thresholds=st.dictionaries(TEXT, FLOATS, max_size=2),
    lineage=st.dictionaries(TEXT, TEXT | st.integers(), max_size=2),
    files=st.dictionaries(st.sampled_from(["a", "b/c.json", "é"]), TEXT, max_size=2),
)


@pytest.fixture
def plain() -> Manifest:
    spec = PromptSpec(style="raw", kind="classify", choices=Choices(labels=("a", "b")))
    return Manifest(task="t", kind="classify", candidate="linear", engine="linear", prompt=spec)


@given(MANIFESTS)
def test_what_goes_to_disk_comes_back_the_same(manifest: Manifest) -> None:
    read = from_json(json.loads(json.dumps(to_json(manifest))), where="here")
    assert read == manifest
    assert identify(read) == identify(manifest)


@given(MANIFESTS, MANIFESTS)
def test_different_manifests_have_different_names(one: Manifest, other: Manifest) -> None:
    assert (identify(one) == identify(other)) is (
        files.canonical(to_json(one)) == files.canonical(to_json(other))
    )


@pytest.mark.parametrize("version", [FORMAT + 1, 0, None, "1"])
def test_another_format_is_refused_with_both_numbers(plain: Manifest, version: Any) -> None:
    with pytest.raises(BundleError) as caught:
        from_json({**to_json(plain), "format": version}, where="some/bundle")
    assert "some/bundle" in caught.value.what and repr(version) in caught.value.what
    assert f"reads {FORMAT}" in caught.value.what and "Upgrade" in caught.value.fix


@pytest.mark.parametrize(
    "change",
    [
        {"prompt": None},
        {"prompt": {}},
        {"sampling": {"max_tokens": 1}},
        {"surprise": 1},
        {"calibration": {"temperature": 1.0}},
        {"base": {"source": "hub"}},
        {"inputs": None},
    ],
)
def test_a_manifest_that_does_not_read_names_the_bundle(plain: Manifest, change: dict[str, Any]) -> None:
    with pytest.raises(BundleError, match="some/bundle"):
        from_json({**to_json(plain), **change}, where="some/bundle")


@pytest.mark.parametrize("raw", [[], None, "text", 3])
def test_what_is_no_manifest_at_all_is_refused(raw: Any) -> None:
    with pytest.raises(BundleError, match="some/bundle"):
        from_json(raw, where="some/bundle")


def test_every_word_of_it_counts_for_the_name(plain: Manifest) -> None:
    changed = [
        replace(plain, candidate="other"),
        replace(plain, calibration=Calibration(temperature=1.0001)),
        replace(plain, prompt=replace(plain.prompt, choices=Choices(labels=("b", "a")))),
        replace(plain, sampling=Sampling(seed=0)),
        replace(plain, files={"x": "1"}),
    ]
    assert len({identify(manifest) for manifest in [plain, *changed]}) == 1 + len(changed)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"model": "../../other/linear"}, "lies outside"),
        ({"encoder": "/etc"}, "lies outside"),
        ({"files": {"..\\\\x": "0"}}, "lies outside"),
        ({"adapter": "adapter"}, "no checksum"),
        ({"engine": "recorded"}, "no engine"),
        ({"quantization": "q2"}, "no quantisation"),
        ({"calibration": Calibration(temperature=0.0)}, "finite numbers"),
        ({"calibration": Calibration(isotonic=((0.1, 0.5), (0.9, 0.2)))}, "does not rise"),
        ({"calibration": Calibration(isotonic=((0.1, 0.0), (0.9, 1.2)))}, "does not rise"),
        ({"calibration": Calibration(bias=(0.0,))}, "1 biases for 2 labels"),
    ],
)
def test_what_no_build_would_write_is_refused(plain: Manifest, change: dict[str, Any], said: str) -> None:
    forged = to_json(replace(plain, **change))
    with pytest.raises(BundleError, match=said):
        from_json(forged, where="here")


def test_a_bundle_from_before_groups_and_curves_keeps_its_id(plain: Manifest) -> None:
    raw = to_json(plain)
    assert "group" not in raw["columns"] and "isotonic" not in raw["calibration"]
    named = replace(plain, columns=Columns(group="customer"))
    assert from_json(json.loads(json.dumps(to_json(named))), where="x") == named
    assert identify(named) != identify(plain) == identify(from_json(raw, where="x"))


def test_a_scope_comes_back_and_one_of_no_known_score_is_refused() -> None:
    spec = PromptSpec(style="raw", kind="classify", choices=Choices(labels=("a", "b")))
    plain = Manifest(task="t", kind="classify", candidate="c", engine="linear", prompt=spec)
    scoped = replace(plain, scope=Scope(score="energy", at=-0.5, label="none"))
    assert "scope" not in to_json(plain) and identify(plain) != identify(scoped)
    raw = json.loads(json.dumps(to_json(scoped)))
    assert from_json(raw, where="x") == scoped
    for wrong in ({"score": "taste"}, {"at": "low"}, {"at": float("nan")}):
        with pytest.raises(BundleError, match="threshold of scope"):
            from_json({**raw, "scope": {**raw["scope"], **wrong}}, where="x")


def test_what_tells_how_sure_a_stage_is_comes_back_and_what_fits_no_stage_is_refused() -> None:
    paths = ("stages/1", "stages/2", "stages/3")
    spec = PromptSpec(style="raw", kind="generate")
    plain = Manifest(
        task="t",
        kind="generate",
        candidate="c",
        engine="cascade",
        prompt=spec,
        stages=tuple(Stage(name=path, path=path, id="0") for path in paths),
        thresholds={"stages/1": 1.0, "stages/2": 0.5},
        files={f"{path}/bundle.json": "0" for path in paths}
        | {f"gate/difficulty.{kind}": "0" for kind in ("json", "jsonl")},
    )
    agreeing = {"stages/1": Sureness(signal="none"), "stages/2": Sureness(signal="agreement")}
    gated = replace(plain, sureness=agreeing, gate=Gate(path="gate", at=0.5))
    assert not {"sureness", "gate"} & set(to_json(plain)) and identify(plain) != identify(gated)
    raw = json.loads(json.dumps(to_json(gated)))
    assert from_json(raw, where="x") == gated
    first, last = {"signal": "agreement", "curve": []}, {"signal": "weakest", "curve": []}
    falling = {"signal": "margin", "curve": [[0.0, 0.9], [1.0, 0.1]]}
    for wrong in (
        {"sureness": {"stages/1": first}},
        {"sureness": {"stages/3": last}},
        {"sureness": {"stages/2": {**last, "signal": "mood"}}},
        {"sureness": {"stages/2": falling}},
        {"gate": {"path": "elsewhere", "at": 0.5}},
        {"gate": {"path": "gate", "at": 1.5}},
    ):
        with pytest.raises(BundleError, match="not to be trusted"):
            from_json({**raw, **wrong}, where="x")
