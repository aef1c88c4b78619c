"""The whole weights behind a language model bundle: whether they can be had, one folder, or one GGUF.

Quantising comes last: an adapter is merged into 16 or 32 bits first, and what is already quantised is never
taken for whole. Knows nothing of what the weights are wanted for.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from smallworks import compress, files, settings
from smallworks.bundle import Bundle, freeze, open_bundle
from smallworks.bundle.golden import GOLDEN
from smallworks.bundle.manifest import (
    ADAPTED,
    BITSANDBYTES,
    GENAI,
    LLMCOMPRESSOR,
    OPENVINO,
    PRECISIONS,
    EngineName,
)
from smallworks.bundle.manifest import precision as precision_of
from smallworks.bundle.store import intact
from smallworks.compress import llmcompressor, shape, vocabulary
from smallworks.engines.opening import TOKENIZER, base_path
from smallworks.engines.shots import POOL
from smallworks.errors import BundleError
from smallworks.seams import Progress

GGUF = "model.gguf"
ADAPTER = "adapter.gguf"
WHOLE = ("f32", "f16", "bf16")
"""Precisions of weights that nothing has been taken from yet."""
SAMPLES = "samples"
"""What the lineage calls the hash of the rows that a form was fitted on."""


def quantized(bundle: Bundle) -> str | None:
    """The precision that took something from the weights, e.g. 'q4_0'; None for whole ones."""
    precision = precision_of(bundle.manifest)
    return None if precision is None or precision in WHOLE else precision


def lacking(bundle: Bundle) -> str | None:
    """Why there are no whole weights behind it, as the rest of a sentence; None where there are."""
    manifest = bundle.manifest
    if manifest.retrieval:
        return "answers from an index; its reader is a bundle of its own"
    if manifest.stages:
        return f"is a cascade of {len(manifest.stages)} bundles"
    if manifest.engine in ("linear", "onnx"):
        return "has no language model in it"
    if manifest.engine in ("http", "fake"):
        return "holds no weights: a server elsewhere answers for it"
    if quantized(bundle):
        return f"has {quantized(bundle)} weights, and what quantising took does not come back"
    if manifest.engine == "llamacpp":
        return "answers from a GGUF file, which does not turn back into safetensors"
    method = (
        files.read_json(_model(bundle) / "config.json").get("quantization_config", {}).get("quant_method")
    )
    return f"rests on weights that are already quantised ({method})" if method else None


def made_from(bundle: Bundle) -> Path | None:
    """The bundle that a quantised one was made from, where it still lies beside it."""
    reference = str(bundle.manifest.lineage.get("reference", ""))[:12]
    beside = sorted(bundle.path.resolve().parent.glob(f"*-{reference}")) if reference else []
    return beside[0] if beside else None


def check_openvino(bundle: Bundle, bits: compress.Bits) -> None:
    """Raises ModelError, before any work, for a model that does not become such a graph."""
    compress.check_openvino(_model(bundle), bits)


def check_bitsandbytes(bundle: Bundle, kind: compress.BnbKind) -> None:
    """Raises ModelError, before any work, for widths that do not fit."""
    compress.check_bitsandbytes(_model(bundle), kind)


def check_llmcompressor(bundle: Bundle, kind: llmcompressor.Kind) -> None:
    """Raises ModelError, before any work, for widths that do not fit."""
    llmcompressor.check(_model(bundle), kind)


def check_shape(bundle: Bundle) -> None:
    """Raises ModelError, before any work, for a model that is not Llama-shaped."""
    shape.read(_model(bundle))


def check_gguf(bundle: Bundle) -> None:
    """Raises ModelError, before any work, for a model that llama.cpp would run differently or not at all."""
    shape.read(_model(bundle))
    vocabulary.read(_model(bundle))


def check_adapter(bundle: Bundle) -> None:
    """Raises BundleError for a bundle without an adapter, ModelError for one that is more than plain LoRA."""
    from smallworks.compress import adapter

    if not bundle.manifest.adapter:
        raise BundleError(
            f"'{bundle.name}' holds no adapter: its weights are whole.",
            fix="Quantise it to q8_0, say; or tune an adapter: smallworks tune TASK --method lora",
        )
    adapter.read(bundle.file(bundle.manifest.adapter))


def base_of(bundle: Bundle) -> Path:
    """The model folder below a bundle's adapter."""
    return _model(bundle)


def shared(path: Path) -> Path:
    """A large file, so that those with the same bytes lie on this disk once.

    By way of hard links in a folder of the cache, each under its own hash; those that no bundle
    has any more are deleted. Where the disk knows no hard links, or the cache lies on another one, `path`
    stays as it is.
    """
    pool = settings.load().home / "bases"
    if path.stat().st_size < files.SHARED_FROM:
        return path
    digest = files.hash_file(path)
    there = pool / f"{digest}{path.suffix}"
    with suppress(OSError):
        pool.mkdir(parents=True, exist_ok=True)
        for old in pool.iterdir():
            if old != there and old.stat().st_nlink == 1:
                old.unlink()
        if there.is_file() and files.hash_file(there) != digest:
            there.unlink()
        if not there.is_file():
            os.link(path, there)
        elif not there.samefile(path):
            _linked(there, path)
    return path


def _linked(source: Path, target: Path) -> None:
    """`target`, which is there, becomes `source`. Raises OSError, with `target` as it was."""
    beside = target.with_name(f".{target.name}-{os.getpid()}")
    try:
        os.link(source, beside)
        beside.replace(target)
    finally:
        beside.unlink(missing_ok=True)


def whole(bundle: Bundle, scratch: Path, progress: Progress) -> Path:
    """A model folder with every weight in it: the base's own, or one in `scratch` with the adapter merged."""
    manifest, model = bundle.manifest, _model(bundle)
    if not manifest.adapter:
        return model
    return compress.merge(model, bundle.file(manifest.adapter), scratch / "merged", progress)


def licences(bundle: Bundle) -> list[Path]:
    """What the model's folder says of its licence, to travel with its weights."""
    return sorted(
        p for p in _model(bundle).iterdir() if p.is_file() and p.name.startswith(("LICENSE", "NOTICE"))
    )


def freeze_quantized(
    reference: Bundle, made: Path, quantization: str, draft: Path, samples: str | None = None
) -> Bundle:
    """`made`, a file or a folder, as a bundle beside `reference`.

    Words, golden rows, shots and calibration are taken over. `samples` is the hash of the rows that it was
    fitted on, if any.
    Built from the same weights it is the bundle that a build makes, under the same id.
    """
    assert quantization in PRECISIONS
    engine, name = _place(quantization)
    beside = quantization in ADAPTED
    for path in sorted(made.iterdir()) if made.is_dir() else (made,):
        inside = path.name if beside else f"{name}/{path.name}" if made.is_dir() else name
        files.link_or_copy(path, draft / inside)
    for kept in (n for n in reference.manifest.files if n in (GOLDEN, POOL) or n.startswith(f"{TOKENIZER}/")):
        files.link_or_copy(reference.file(kept), draft / kept)
    manifest = replace(
        reference.manifest,
        candidate=f"{reference.manifest.candidate}-{quantization}",
        engine=engine,
        model=name,
        adapter=ADAPTER if beside else None,
        base=None,
        quantization=quantization,
        lineage={
            **reference.manifest.lineage,
            "reference": reference.id,
            **({SAMPLES: samples} if samples else {}),
        },
    )
    return freeze(draft, manifest, into=reference.path.parent)


def _place(quantization: str) -> tuple[EngineName, str]:
    """The engine that answers from this form, and what its weights are called in a bundle."""
    if quantization in OPENVINO:
        return "openvino", "openvino"
    if quantization in GENAI:
        return "ortgenai", "onnx"
    by_transformers = quantization in (*BITSANDBYTES, *LLMCOMPRESSOR)
    return ("transformers", "model") if by_transformers else ("llamacpp", GGUF)


def quantized_before(reference: Bundle, quantization: str, samples: str | None = None) -> Bundle | None:
    """The bundle that an earlier run froze of `reference`, beside it and intact, fitted on the same rows."""
    name = f"{reference.manifest.task}-{reference.manifest.candidate}-{quantization}-*"
    for path in sorted(reference.path.parent.glob(name)):
        if not intact(path):
            continue
        found = open_bundle(path)
        lineage = found.manifest.lineage
        if (lineage.get("reference"), lineage.get(SAMPLES)) == (reference.id, samples):
            return found
    return None


def _model(bundle: Bundle) -> Path:
    """The folder of the model, without any adapter. Raises BundleError where a base is not there."""
    manifest = bundle.manifest
    if manifest.model:
        return bundle.file(manifest.model)
    assert manifest.base is not None, "a transformers bundle has a model or a base"
    return base_path(manifest.base)
