"""Smaller forms are frozen as a build freezes them and measured on the same rows, or refused at once."""

from __future__ import annotations

import errno
import json
import os
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from smallworks import child, compress, files, starter
from smallworks.bundle import Bundle, Calibration, freeze, open_bundle
from smallworks.bundle.golden import TOLERANCES, read
from smallworks.bundle.manifest import PRECISIONS
from smallworks.cli import run
from smallworks.cli.quantize import show
from smallworks.compress import kquants, llmcompressor
from smallworks.engines.opening import open_bundle as open_predictor
from smallworks.errors import BundleError, MissingExtra, UserError
from smallworks.evaluate import probe
from smallworks.evaluate.intervals import wilson
from smallworks.evaluate.replay import replay
from smallworks.recipes import exportable, formats, weights
from smallworks.recipes.quantize import Form, Quantized, frozen, quantize
from smallworks.seams import silent
from smallworks.types import Table


def test_each_form_lies_beside_the_bundle_and_answers_for_its_golden_rows(
    adapted: Bundle, tmp_path: Path
) -> None:
    made = frozen(adapted, ("f16", "q8_0"), tmp_path / "scratch", silent)
    assert [bundle.manifest.candidate for bundle in made] == ["lm-lora-f16", "lm-lora-q8_0"]
    for bundle in made:
        assert bundle.path.parent == adapted.path.parent and open_bundle(bundle.path).id == bundle.id
        assert bundle.manifest.lineage["reference"] == adapted.id
        assert (bundle.manifest.base, bundle.manifest.adapter) == (None, None)
        assert read(bundle.path) == read(adapted.path)
        assert bundle.manifest.calibration == adapted.manifest.calibration
    with open_predictor(made[0]) as predictor:
        parity = replay(made[0], predictor)
    assert parity and parity.holds and 0 < parity.worst < 0.02
    assert not (tmp_path / "scratch").exists()


def test_an_adapter_beside_its_base_answers_as_one_merged_into_it(adapted: Bundle, tmp_path: Path) -> None:
    beside, merged = frozen(adapted, ("adapter-f32", "f32"), tmp_path / "scratch", silent)
    manifest = beside.manifest
    assert (manifest.candidate, manifest.model, manifest.adapter) == (
        "lm-lora-adapter-f32",
        "model.gguf",
        "adapter.gguf",
    )
    base = compress.quantize(starter.MODEL, tmp_path / "base.gguf", "f32")
    assert manifest.files["model.gguf"] == files.hash_file(base), "any bundle over this base has this file"
    for bundle in (beside, merged):
        with open_predictor(bundle) as predictor:
            parity = replay(bundle, predictor)
        assert parity and parity.holds and parity.tolerance == 0.001
    with pytest.raises(BundleError, match="GGUF file"):
        quantize(beside.path, ["q8_0"])
    with pytest.raises(BundleError, match=r"adapter beside its base.*smallworks quantize .*lm-lora-"):
        exportable.check(beside, "ollama")


def test_whole_weights_have_no_adapter_to_keep_apart(adapted: Bundle, tmp_path: Path) -> None:
    bare = Bundle(path=adapted.path, id=adapted.id, manifest=replace(adapted.manifest, adapter=None))
    with pytest.raises(BundleError, match="holds no adapter"):
        formats.check_bundle(bare, ["adapter-q8_0"])


def test_large_files_with_the_same_bytes_lie_on_the_disk_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "SHARED_FROM", 0)
    monkeypatch.setenv("SMALLWORKS_HOME", str(tmp_path / "home"))
    one, two, other = (tmp_path / name for name in ("one.gguf", "two.gguf", "other.gguf"))
    for path, content in ((one, b"base"), (two, b"base"), (other, b"other")):
        path.write_bytes(content)
        weights.shared(path)
    assert one.stat().st_ino == two.stat().st_ino != other.stat().st_ino
    one.write_bytes(b"rotten")
    two.unlink()
    two.write_bytes(b"base")
    assert weights.shared(two).read_bytes() == b"base", "what was damaged in the pool is not handed out"
    other.unlink()
    weights.shared(two)
    assert [path.name for path in (tmp_path / "home" / "bases").iterdir()] == [f"{files.hash_file(two)}.gguf"]


def test_a_file_on_another_disk_than_the_cache_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "SHARED_FROM", 0)
    monkeypatch.setenv("SMALLWORKS_HOME", str(tmp_path / "home"))
    (tmp_path / "disk").mkdir()
    one, two = tmp_path / "one.gguf", tmp_path / "disk" / "two.gguf"
    one.write_bytes(b"base")
    two.write_bytes(b"base")
    weights.shared(one)
    monkeypatch.setattr(os, "link", Mock(side_effect=OSError(errno.EXDEV, "another disk")))
    assert weights.shared(two).read_bytes() == b"base"
    assert list(two.parent.iterdir()) == [two]


def test_a_form_that_was_frozen_before_is_not_made_again(
    adapted: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = frozen(adapted, ("q8_0",), tmp_path / "scratch", silent)
    monkeypatch.setattr(weights, "whole", lambda *_: pytest.fail("merged again"))
    assert frozen(adapted, ("q8_0",), tmp_path / "scratch", silent) == first


def test_a_form_fitted_on_other_rows_is_made_again(
    adapted: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a stand-in for llmcompressor, which makes the same folder whatever the rows."""
    monkeypatch.setattr(llmcompressor, "convert", lambda *_: starter.MODEL)
    first, other, again = (
        frozen(adapted, ("w8a8",), tmp_path / "scratch", silent, rows)[0]
        for rows in ([[1, 2]], [[3, 4]], [(1, 2)])
    )
    assert first.id == again.id != other.id


def test_a_damaged_form_is_made_again(adapted: Bundle, tmp_path: Path) -> None:
    (first,) = frozen(adapted, ("bf16",), tmp_path / "scratch", silent)
    before = first.file("model.gguf").read_bytes()
    first.file("model.gguf").write_bytes(before[:-1])
    (again,) = frozen(adapted, ("bf16",), tmp_path / "scratch", silent)
    assert again.id == first.id and again.file("model.gguf").read_bytes() == before


def test_a_k_quant_is_made_of_16_bits_by_the_tool(
    adapted: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stand-in that copies: the plumbing is shown here, the quantising is llama.cpp's."""
    tool = tmp_path / kquants.TOOL
    tool.write_text('#!/bin/sh\n[ "$3" = Q4_K_M ] && cat "$1" > "$2"\n')
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    formats.check_formats(["q4_k_m"])
    (made,) = frozen(adapted, ("q4_k_m",), tmp_path / "scratch", silent)
    assert made.manifest.quantization == "q4_k_m" and made.manifest.candidate == "lm-lora-q4_k_m"
    assert open_bundle(made.path).id == made.id


@pytest.mark.skipif(find_spec("openvino") is None, reason="openvino is not installed")
def test_openvino_forms_answer_for_their_golden_rows(adapted: Bundle, tmp_path: Path) -> None:
    made = frozen(adapted, ("openvino-int8", "openvino-int4"), tmp_path / "scratch", silent)
    sizes = [files.size_of(bundle.file("openvino")) for bundle in made]
    assert sizes[1] < sizes[0] and [b.manifest.engine for b in made] == ["openvino", "openvino"]
    for bundle in made:
        with open_predictor(bundle) as predictor:
            parity = replay(bundle, predictor)
        assert parity and parity.holds and parity.ids_equal == parity.rows and parity.worst > 0


@pytest.mark.slow
def test_forms_made_in_a_child_answer_for_their_golden_rows(adapted: Bundle, tmp_path: Path) -> None:
    pytest.importorskip("bitsandbytes")
    pytest.importorskip("onnxruntime_genai")
    onnx, made = frozen(adapted, ("onnx-int4", "bnb-4bit"), tmp_path / "scratch", silent)
    config = files.read_json(made.file("model/config.json"))
    assert config["quantization_config"]["bnb_4bit_quant_type"] == "nf4"
    assert made.manifest.engine == "transformers" and made.manifest.quantization == "bnb-4bit"
    assert files.size_of(made.file("model")) < files.size_of(starter.MODEL)
    assert (onnx.manifest.engine, onnx.manifest.model) == ("ortgenai", "onnx")
    for bundle in (onnx, made):
        with open_predictor(bundle) as predictor:
            parity = replay(bundle, predictor)
        assert parity and parity.holds and parity.worst > 0
    with pytest.raises(BundleError, match="bnb-4bit weights"):
        quantize(made.path, ["q8_0"])


@pytest.mark.parametrize(
    ("format", "extra"),
    [("openvino-int4", "openvino"), ("onnx-int4", "genai"), ("bnb-8bit", "quant"), ("awq", "quant")],
)
def test_a_form_whose_library_is_missing_names_the_extra(
    format: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(formats, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=rf"'{format}' needs .*\[{extra}\]"):
        formats.check_formats([format])


@pytest.mark.parametrize("formats_", [["gptq"], ["q8_0", "w8a8"]])
def test_forms_that_want_another_python_are_refused_without_it(
    formats_: list[str], adapted: Bundle, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(formats, "find_spec", lambda name: True)
    monkeypatch.setenv("SMALLWORKS_HOME", str(tmp_path))
    monkeypatch.delenv("SMALLWORKS_LLMCOMPRESSOR", raising=False)
    assert not {"gptq", "awq", "w8a8"} & set(formats.here_now())
    with pytest.raises(UserError, match=r"llmcompressor in an environment of its own.*--install"):
        quantize(adapted.path, formats_)
    formats.check_formats(formats_, install=True)
    with pytest.raises(UserError, match=r"--install has no meaning for --to q8_0"):
        quantize(adapted.path, ["q8_0"], install=True)


def test_every_precision_has_a_tolerance() -> None:
    assert set(PRECISIONS) < set(TOLERANCES)


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["q4_k_m"], ["llama-quantize", "not on the PATH"]),
        (["q8"], ["'q8' is no format", "q8_0"]),
        (["awk"], ["'awk' is no format", "awq"]),
        (["zzz"], ["'zzz' is no format", "Valid: awq"]),
        (["adapter-q8"], ["'adapter-q8' is no format", "adapter-q8_0"]),
        (["adapter-q4_k_m"], ["llama-quantize", "not on the PATH"]),
        (["q8_0", "q8_0"], ["twice"]),
        ([], ["no format"]),
    ],
)
def test_what_cannot_be_run_here_is_refused_with_the_reason(
    names: list[str], said: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError) as refused:
        quantize(tmp_path / "nowhere", names)
    assert [words for words in said if words not in str(refused.value)] == []


def test_bundles_without_whole_weights_are_refused(
    adapted: Bundle, small_table: Table, tmp_path: Path
) -> None:
    linear = next(row.bundle for row in small_table.rows if row.name == "linear")
    assert linear
    with pytest.raises(BundleError, match="no language model"):
        quantize(linear, ["q8_0"])
    (q4,) = frozen(adapted, ("q4_0",), tmp_path / "scratch", silent)
    with pytest.raises(
        BundleError, match=r"q4_0 weights.*Quantise the bundle that it was made from: .*lm-lora-"
    ):
        quantize(q4.path, ["q8_0"])


def test_what_is_handed_over_stands_below_the_table(
    adapted: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    figures = {"bytes": 1, "peak_memory_bytes": 1, "prefill": 1.0, "decode": None, "metric": wilson(50, 60)}
    form = Form(
        format="as it is",
        bundle=adapted.path,
        **figures,
        in_scope_loss=wilson(3, 60),
        out_of_scope_recall=None,
    )
    show(Quantized(metric="accuracy", margin=0.02, over="labels", forms=(form,)))
    assert "as it is  hands over 5.0 % (1.7–13.7) of the 60 rows in scope" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.usefixtures("brief")
def test_the_table_is_measured_once_and_judged_together(
    adapted: Bundle, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["quantize", str(adapted.path), "--to", "q8_0,q4_0", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    reference, q8, q4 = document["forms"]
    assert [form["format"] for form in document["forms"]] == ["as it is", "q8_0", "q4_0"]
    assert (document["metric"], document["over"], reference["change"]) == ("accuracy", "labels", None)
    for form in (q8, q4):
        assert form["change"]["difference"]["n"] == 60 and form["divergence"]["rows"] == 60
        assert form["verdict"]["outcome"] in ("pass", "fail", "inconclusive")
        assert form["bytes"] < reference["bytes"] and form["prefill"] > 0
    assert 0 < q8["divergence"]["mean"] < q4["divergence"]["mean"]

    def again(*_: Any, **__: Any) -> None:
        pytest.fail("measured again")

    monkeypatch.setattr(child, "run", again)
    assert run(["quantize", str(adapted.path), "--to", "q8_0,q4_0"]) == 0
    said = capsys.readouterr().out
    assert "as it is" in said and "of labels" in said and str(q4["bundle"]) in said.replace("\n", "")


@pytest.mark.slow
@pytest.mark.usefixtures("brief")
def test_written_answers_are_compared_by_their_first_tokens(written: Bundle, tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text(
        "".join(json.dumps({"input": f"Ticket {i} {'!' * i}", "output": "x"}) + "\n" for i in range(8))
    )
    done = quantize(written.path, ["f16", "q4_0"], task=rows)
    assert done.over == "first tokens"
    f16, q4 = (form.divergence for form in done.forms[1:])
    assert f16 and q4 and f16.rows == 8 and 0 <= f16.mean < q4.mean < 1


@pytest.fixture
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """Speeds of a few tokens: that there is one is shown here, and what it is by a quiet machine."""
    monkeypatch.setattr(probe, "PREFILL", 32)
    monkeypatch.setattr(probe, "DECODE", 12)


@pytest.fixture
def written(adapted: Bundle, tmp_path: Path) -> Bundle:
    """The same weights asked for free text."""
    draft = tmp_path / "draft"
    for name in adapted.manifest.files:
        if name != "golden.jsonl":
            files.link_or_copy(adapted.file(name), draft / name)
    prompt = replace(adapted.manifest.prompt, kind="generate", choices=None)
    manifest = replace(adapted.manifest, kind="generate", prompt=prompt, calibration=Calibration())
    return freeze(draft, manifest, into=tmp_path / "bundles")
