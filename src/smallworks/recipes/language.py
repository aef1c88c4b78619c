"""How the language models become bundles: zero-shot, few-shot, tuned, and their quantised forms.

Each is frozen in the reference engine first, with golden rows; a quantised form takes over everything
but the weights, and answers for the same golden rows.
"""

from __future__ import annotations

import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal

from smallworks import compress, files
from smallworks.bundle import Bundle, Manifest
from smallworks.engines.opening import TOKENIZER
from smallworks.engines.shots import POOL_ROWS, write_pool
from smallworks.prompt import Renderer
from smallworks.recipes.tuning import Dials, Tuned, dials_of, spec_of, tuned
from smallworks.recipes.weights import GGUF, freeze_quantized
from smallworks.recipes.workshop import Workshop
from smallworks.tune.options import WEIGHTS
from smallworks.types import PromptSpec, Sampling

Reference = Literal["lm-zero", "lm-few", "lm-lora", "lm-full"]
Quantization = Literal["q8_0", "q4_0"]
WORDS = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "generation_config.json",
    "config.json",
)
"""The files of a base that the renderer reads; they travel in every bundle."""
MODEL, MERGED = "model", "merged"
LONGEST_ANSWER = 512


def make_reference(shop: Workshop, name: Reference, dials: Dials | None = None) -> Bundle:
    """Freeze the candidate in the reference engine (or in llama.cpp, when the base is a bare GGUF).

    `dials` None tunes as a build does; an untuned candidate has none.
    """
    assert shop.base is not None, "the plan skips language models without a base"
    reads: dict[str, Any] = {
        "data": shop.data_key,
        "base": asdict(shop.base.pin),
        "task": shop.wording,
        **shop.scope,
    }
    weights = None
    if name == "lm-lora" or name == "lm-full":
        weights = tuned(shop, dials or dials_of(shop, name))
        reads["weights"] = weights.sha256
    return shop.frozen(f"freeze-{name}", reads, lambda folder: _freeze(shop, name, folder, weights))


def make_quantized(shop: Workshop, name: Reference, quantization: Quantization) -> Bundle:
    """The same candidate as a GGUF of that quantisation, golden rows and calibration taken over."""
    reference = make_reference(shop, name)
    reads = {"reference": reference.id, "quantization": quantization}
    return shop.frozen(
        f"quantize-{name}-{quantization}",
        reads,
        lambda folder: _quantize(shop, reference, quantization, folder),
    )


def _freeze(shop: Workshop, name: Reference, folder: Path, weights: Tuned | None) -> dict[str, Any]:
    assert shop.base is not None
    draft = folder / "draft"
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    spec = spec_of(shop) if weights else shop.prompt()
    manifest = Manifest(
        task=shop.task.name,
        kind=shop.task.kind,
        candidate=name + shop.suffix,
        engine="llamacpp" if shop.base.is_gguf else "transformers",
        prompt=spec,
        sampling=_sampling(shop, spec),
        inputs=shop.inputs,
        columns=shop.task.data.columns,
        base=shop.base.pin,
        lineage={
            "data": shop.data_key,
            "rows": len(shop.splits.train + shop.synthetic),
            "seed": shop.task.build.seed,
        },
    )
    _carry_words(shop, draft)
    if name == "lm-few":
        pool = [(e.text, e.output) for e in shop.shuffled[:POOL_ROWS]]
        write_pool(draft, pool)
    if weights:
        manifest = _carry_weights(shop, draft, manifest, weights)
    bundle = shop.settle(f"freeze-{name}", draft, manifest, unlabelled=weights is None)
    return {"bundle": bundle.name}


def _carry_weights(shop: Workshop, draft: Path, manifest: Manifest, weights: Tuned) -> Manifest:
    """Tuned weights into the draft: an adapter beside its pinned base, or a model that needs none."""
    assert shop.base is not None
    for file in weights.weights.iterdir():
        files.link_or_copy(file, draft / weights.part / file.name)
    lineage = {
        **manifest.lineage,
        "method": weights.method,
        "steps": weights.steps,
        "forgetting": str(weights.forgetting),
    }
    if weights.part == "adapter":
        return replace(manifest, adapter="adapter", lineage=lineage)
    return replace(manifest, model=MODEL, base=None, lineage={**lineage, "base": shop.base.pin.ref})


def _quantize(shop: Workshop, reference: Bundle, quantization: Quantization, folder: Path) -> dict[str, Any]:
    draft = folder / "draft"
    shutil.rmtree(draft, ignore_errors=True)
    gguf = _gguf(shop, reference, quantization)
    return {"bundle": freeze_quantized(reference, gguf, quantization, draft).name}


def _gguf(shop: Workshop, reference: Bundle, quantization: Quantization) -> Path:
    """The quantised weights, made once: zero-shot and few-shot share those of the base."""
    assert shop.base is not None
    manifest = reference.manifest
    step, source, key = "gguf", shop.base.path, {"base": shop.base.pin.sha256, "adapter": None}
    if manifest.model:
        step, source = "gguf-full", reference.file(manifest.model)
        key = {"model": files.hash_file(source / WEIGHTS["model"])}
    elif manifest.adapter:
        adapter = reference.file(manifest.adapter)
        key["adapter"] = files.hash_file(adapter / WEIGHTS["adapter"])
        shop.steps.run("merge", key, lambda folder: _merge(shop, adapter, folder))
        step, source = "gguf-lora", shop.steps.folder_of("merge", key) / MERGED
    step = f"{step}-{quantization}"
    shop.steps.run(step, key, lambda folder: _convert(source, folder / GGUF, quantization))
    return shop.steps.folder_of(step, key) / GGUF


def _merge(shop: Workshop, adapter: Path, folder: Path) -> dict[str, Any]:
    assert shop.base is not None
    return {"bytes": files.size_of(compress.merge(shop.base.path, adapter, folder / MERGED))}


def _convert(source: Path, out: Path, quantization: Quantization) -> dict[str, Any]:
    return {"bytes": files.size_of(compress.quantize(source, out, quantization))}


def _sampling(shop: Workshop, spec: PromptSpec) -> Sampling:
    """Greedy, with room for the longest training answer and half as much again."""
    words = shop.words
    renderer = Renderer(spec, words.template, words.tokenizer)
    answers = [len(words.tokenizer.encode(renderer.answer_text(e.output))) for e in shop.shuffled[:500]]
    longest = min(LONGEST_ANSWER, words.context // 2, 8 + max(answers) * 3 // 2)
    return Sampling(max_tokens=longest, stop_ids=renderer.stop_ids, schema=renderer.schema)


def _carry_words(shop: Workshop, draft: Path) -> None:
    assert shop.base is not None
    if shop.base.is_gguf:
        return
    for name in WORDS:
        if (shop.base.path / name).is_file():
            files.link_or_copy(shop.base.path / name, draft / TOKENIZER / name)
