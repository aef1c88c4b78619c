"""How `majority`, `linear` and `fused` become bundles: what a language model has to beat."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from smallworks import files
from smallworks.bundle import Bundle, Calibration, Manifest
from smallworks.bundle.store import hash_weights
from smallworks.compress.encoder import FILES, encode_to_onnx
from smallworks.recipes.workshop import Workshop, with_scope
from smallworks.types import Choices, Example, PromptSpec, Sampling

Baseline = Literal["majority", "linear", "fused"]
HELD = "held.jsonl"
"""In the step's folder: rows of train and validation as fits that did not see them answered."""


def make_baseline(shop: Workshop, name: Baseline) -> Bundle:
    """Fit in a child, and freeze. Same rows, same bundle.

    Labels are fitted on train and validation together, and calibrated on rows that a fit did not see; fields
    on train alone, so that a cascade can learn from validation when they are to be trusted.
    """
    if shop.task.kind == "extract":
        reads = {"task": shop.wording, "data": shop.data_key, "seed": shop.task.build.seed}
        return shop.frozen("fit-fields", reads, lambda folder: _fit_fields(shop, folder))
    return shop.frozen(f"fit-{name}", _reads(shop, name), lambda folder: _fit(shop, name, folder))


def held_out(shop: Workshop, name: Baseline) -> list[tuple[Example, tuple[float, ...], bool]]:
    """The held-out rows of the fit, each with the probabilities of the labels in their order, and whether it
    seemed out of scope."""
    file = shop.steps.folder_of(f"fit-{name}", _reads(shop, name)) / HELD
    return [(shop.fitting[i], tuple(said), bool(more)) for i, said, *more in files.read_jsonl(file)]


def _reads(shop: Workshop, name: Baseline) -> dict[str, Any]:
    reads: dict[str, Any] = {
        "task": shop.task.name,
        "data": shop.data_key,
        "seed": shop.task.build.seed,
        "labels": shop.splits.labels,
        **({} if name == "majority" else shop.scope),
    }
    if name == "fused":
        assert shop.embedder is not None, "the plan skips fused without an embedder"
        reads["encoder"] = hash_weights(shop.embedder)
    return reads


def _fit(shop: Workshop, name: Baseline, folder: Path) -> dict[str, Any]:
    step, draft = f"fit-{name}", folder / "draft"
    encoder = _encoder(shop, folder) if name == "fused" else None
    rows = folder / "rows.jsonl"
    files.write_jsonl(rows, ([e.text, e.output, e.probabilities] for e in (*shop.fitting, *shop.synthetic)))
    request = {
        "rows": rows,
        "kind": "majority" if name == "majority" else "linear",
        "labels": shop.splits.labels,
        "encoder": encoder,
        "taught": len(shop.synthetic),
        "validation": len(shop.splits.validation),
        "held": folder / HELD,
        "seed": shop.task.build.seed,
        "scope": None if name == "majority" else shop.ask_scope([e.text for e in shop.splits.outside]),
        "out": draft / "linear",
    }
    fitted = shop.run_child(step, "smallworks.tune.baseline", request, folder)
    rows.unlink(missing_ok=True)
    spec = PromptSpec(style="raw", kind=shop.task.kind, choices=Choices(labels=shop.splits.labels))
    manifest = replace(_manifest(shop, name, spec), calibration=_calibration(fitted))
    manifest = with_scope(manifest, fitted["scope"])
    if encoder:
        for file in FILES:
            files.link_or_copy(encoder / file, draft / "encoder" / file)
        lineage = {**manifest.lineage, "embedder": str(shop.embedder)}
        manifest = replace(manifest, engine="onnx", encoder="encoder", lineage=lineage)
    return {"bundle": shop.settle(step, draft, manifest).name, **fitted}


def _fit_fields(shop: Workshop, folder: Path) -> dict[str, Any]:
    rows, draft = folder / "rows.jsonl", folder / "draft"
    learned = (*shop.splits.train, *shop.synthetic)
    files.write_jsonl(rows, ([e.text, e.output] for e in learned))
    request = {
        "rows": rows,
        "schema": shop.task.schema,
        "seed": shop.task.build.seed,
        "out": draft / "linear",
    }
    fitted = shop.run_child("fit-fields", "smallworks.tune.fields", request, folder)
    rows.unlink(missing_ok=True)
    spec = PromptSpec(style="raw", kind="extract", schema=shop.task.schema)
    manifest = replace(_manifest(shop, "linear", spec), sampling=Sampling(schema=shop.task.schema))
    lineage = {**manifest.lineage, "rows": len(learned), **fitted}
    bundle = shop.settle("fit-fields", draft, replace(manifest, lineage=lineage))
    return {"bundle": bundle.name, **fitted}


def _encoder(shop: Workshop, folder: Path) -> Path:
    """The embedder as int8 ONNX, converted once for all tasks of this build folder."""
    assert shop.embedder is not None
    digest = hash_weights(shop.embedder)[:12]
    return encode_to_onnx(shop.embedder, folder.parent / f"encoder-{digest}", progress=shop.progress)


def _calibration(fitted: Mapping[str, Any]) -> Calibration:
    curve = tuple((said, meant) for said, meant in fitted["isotonic"])
    return Calibration(temperature=fitted["temperature"], isotonic=curve)


def _manifest(shop: Workshop, name: Baseline, spec: PromptSpec) -> Manifest:
    return Manifest(
        task=shop.task.name,
        kind=shop.task.kind,
        candidate=name + shop.suffix,
        engine="linear",
        prompt=spec,
        inputs=shop.inputs,
        columns=shop.task.data.columns,
        model="linear",
        lineage={
            "data": shop.data_key,
            "rows": len(shop.fitting + shop.synthetic),
            "seed": shop.task.build.seed,
        },
    )
