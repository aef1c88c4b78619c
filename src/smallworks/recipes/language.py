"""How the language models become bundles: zero-shot, few-shot, LoRA-tuned, and their quantised forms.

Each is frozen in the reference engine first, with golden rows; a quantised form takes over everything
but the weights, and answers for the same golden rows.
"""

from __future__ import annotations

import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal

from smallworks import compress, files, tune
from smallworks.bundle import Bundle, Manifest, freeze
from smallworks.bundle.golden import GOLDEN
from smallworks.engines.opening import TOKENIZER, threads_for
from smallworks.engines.shots import POOL, POOL_ROWS, write_pool
from smallworks.prompt import Renderer, TrainingRow, choose
from smallworks.prompt import tokenizer as tokenizers
from smallworks.recipes.workshop import Workshop
from smallworks.tune.options import LoraOptions, TuneRequest
from smallworks.types import Example, PromptSpec, Sampling

Reference = Literal["lm-zero", "lm-few", "lm-lora"]
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
MOST_LISTED = 32
"""A tuned model learns its codes, so a longer label list would only cost prefill."""
TUNED, MERGED, GGUF = "tuned", "merged", "model.gguf"
LONGEST_ANSWER = 512
LONGEST_ROW = 1024
"""Tokens of a training row; longer ones are left out of tuning, and counted."""


def make_reference(shop: Workshop, name: Reference) -> Bundle:
    """Freeze the candidate in the reference engine (or in llama.cpp, when the base is a bare GGUF)."""
    assert shop.base is not None, "the plan skips language models without a base"
    reads: dict[str, Any] = {"data": shop.data_key, "base": asdict(shop.base.pin), "task": _wording(shop)}
    adapter = tune_adapter(shop) if name == "lm-lora" else None
    if adapter:
        reads["adapter"] = adapter["adapter_sha256"]
    return shop.frozen(f"freeze-{name}", reads, lambda folder: _freeze(shop, name, folder, adapter))


def make_quantized(shop: Workshop, name: Reference, quantization: Quantization) -> Bundle:
    """The same candidate as a GGUF of that quantisation, golden rows and calibration taken over."""
    reference = make_reference(shop, name)
    reads = {"reference": reference.id, "quantization": quantization}
    return shop.frozen(
        f"quantize-{name}-{quantization}",
        reads,
        lambda folder: _quantize(shop, reference, quantization, folder),
    )


def tune_adapter(shop: Workshop) -> dict[str, Any]:
    """LoRA on the training rows, the loss watched on the validation rows; resumes where it broke off."""
    assert shop.base is not None
    reads = {
        "data": shop.data_key,
        "base": shop.base.pin.sha256,
        "task": _wording(shop),
        "epochs": shop.task.build.epochs,
        "seed": shop.task.build.seed,
    }
    result: dict[str, Any] = shop.steps.run("tune", reads, lambda folder: _tune(shop, folder))
    return {**result, "adapter": shop.steps.folder_of("tune", reads) / TUNED / "adapter"}


def prompt_spec(shop: Workshop, *, listed: bool = True) -> PromptSpec:
    task = shop.task
    words = shop.words
    labelled = task.kind == "classify"
    choices = choose(shop.splits.labels, words.tokenizer, words.template) if labelled else None
    return PromptSpec(
        style="chat",
        kind=task.kind,
        instruction=task.instruction,
        choices=choices,
        listed=listed,
        schema=task.schema,
    )


def _tune(shop: Workshop, folder: Path) -> dict[str, Any]:
    assert shop.base is not None
    renderer = Renderer(_tuned_spec(shop), shop.words.template, shop.words.tokenizer)
    longest = min(shop.words.context, LONGEST_ROW)
    train, dropped = _rows(renderer, shop.splits.train, longest)
    validation, _ = _rows(renderer, shop.splits.validation, longest)
    request = TuneRequest(
        base=shop.base.path,
        out=folder / TUNED,
        train=train,
        validation=validation,
        options=LoraOptions(
            end_id=renderer.stop_ids[0],
            pad_id=_pad_id(shop, renderer.stop_ids),
            epochs=shop.task.build.epochs,
            seed=shop.task.build.seed,
            max_length=longest,
            threads=threads_for(shop.base.path),
        ),
    )

    def relay(_: str, done: float, total: float, note: str) -> None:
        shop.progress("tune", done, total, note)

    result = tune.fit(request, progress=relay)
    return {
        "adapter_sha256": result.adapter_sha256,
        "steps": result.steps,
        "best_val_loss": result.best_val_loss,
        "curve": [[p.step, p.train_loss, p.val_loss] for p in result.curve],
        "seconds": result.seconds,
        "too_long": dropped,
    }


def _rows(
    renderer: Renderer, examples: tuple[Example, ...], longest: int
) -> tuple[tuple[TrainingRow, ...], int]:
    """Rendered rows that fit, and how many did not."""
    rendered = [renderer.training(e.text, e.output) for e in examples]
    kept = tuple(row for row in rendered if len(row.ids) <= longest)
    return kept, len(rendered) - len(kept)


def _freeze(shop: Workshop, name: Reference, folder: Path, adapter: dict[str, Any] | None) -> dict[str, Any]:
    assert shop.base is not None
    draft = folder / "draft"
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    spec = _tuned_spec(shop) if adapter else prompt_spec(shop)
    manifest = Manifest(
        task=shop.task.name,
        kind=shop.task.kind,
        candidate=name,
        engine="llamacpp" if shop.base.is_gguf else "transformers",
        prompt=spec,
        sampling=_sampling(shop, spec),
        inputs=shop.inputs,
        columns=shop.task.data.columns,
        base=shop.base.pin,
        lineage={"data": shop.data_key, "rows": len(shop.splits.train), "seed": shop.task.build.seed},
    )
    _carry_words(shop, draft)
    if name == "lm-few":
        pool = [(e.text, e.output) for e in shop.shuffled[:POOL_ROWS]]
        write_pool(draft, pool)
    if adapter:
        shutil.copytree(adapter["adapter"], draft / "adapter")
        (draft / "adapter" / "README.md").unlink(missing_ok=True)
        manifest = replace(
            manifest, adapter="adapter", lineage={**manifest.lineage, "steps": adapter["steps"]}
        )
    bundle = shop.settle(f"freeze-{name}", draft, manifest, unlabelled=adapter is None)
    return {"bundle": bundle.name}


def _quantize(shop: Workshop, reference: Bundle, quantization: Quantization, folder: Path) -> dict[str, Any]:
    draft = folder / "draft"
    shutil.rmtree(draft, ignore_errors=True)
    weights = _gguf(shop, reference, quantization)
    files.link_or_copy(weights, draft / GGUF)
    shutil.copytree(reference.file(TOKENIZER), draft / TOKENIZER)
    for name in (GOLDEN, POOL):
        if reference.file(name).is_file():
            files.link_or_copy(reference.file(name), draft / name)
    manifest = replace(
        reference.manifest,
        candidate=f"{reference.manifest.candidate}-{quantization}",
        engine="llamacpp",
        model=GGUF,
        adapter=None,
        base=None,
        quantization=quantization,
        lineage={**reference.manifest.lineage, "reference": reference.id},
    )
    return {"bundle": freeze(draft, manifest, into=shop.bundles).name}


def _gguf(shop: Workshop, reference: Bundle, quantization: Quantization) -> Path:
    """The quantised weights, made once: zero-shot and few-shot share those of the base."""
    assert shop.base is not None
    source, key = shop.base.path, {"base": shop.base.pin.sha256, "adapter": None}
    if reference.manifest.adapter:
        adapter = reference.file(reference.manifest.adapter)
        key["adapter"] = files.hash_file(adapter / "adapter_model.safetensors")
        shop.steps.run("merge", key, lambda folder: _merge(shop, adapter, folder))
        source = shop.steps.folder_of("merge", key) / MERGED
    step = f"gguf-{'lora-' if reference.manifest.adapter else ''}{quantization}"
    shop.steps.run(step, key, lambda folder: _convert(source, folder / GGUF, quantization))
    return shop.steps.folder_of(step, key) / GGUF


def _merge(shop: Workshop, adapter: Path, folder: Path) -> dict[str, Any]:
    assert shop.base is not None
    return {"bytes": files.size_of(compress.merge(shop.base.path, adapter, folder / MERGED))}


def _convert(source: Path, out: Path, quantization: Quantization) -> dict[str, Any]:
    return {"bytes": files.size_of(compress.quantize(source, out, quantization))}


def _tuned_spec(shop: Workshop) -> PromptSpec:
    return prompt_spec(shop, listed=len(shop.splits.labels) <= MOST_LISTED)


def _sampling(shop: Workshop, spec: PromptSpec) -> Sampling:
    """Greedy, with room for the longest training answer and half as much again."""
    words = shop.words
    renderer = Renderer(spec, words.template, words.tokenizer)
    answers = [len(words.tokenizer.encode(renderer.answer_text(e.output))) for e in shop.shuffled[:500]]
    longest = min(LONGEST_ANSWER, words.context // 2, 8 + max(answers) * 3 // 2)
    return Sampling(max_tokens=longest, stop_ids=renderer.stop_ids, schema=renderer.schema)


def _pad_id(shop: Workshop, stop_ids: tuple[int, ...]) -> int:
    """The base's own padding token, or any id that ends no answer: padding is masked either way."""
    assert shop.base is not None
    own = tokenizers.load(shop.base.path).pad_id
    return own if own is not None and own not in stop_ids else next(i for i in range(99) if i not in stop_ids)


def _carry_words(shop: Workshop, draft: Path) -> None:
    assert shop.base is not None
    if shop.base.is_gguf:
        return
    for name in WORDS:
        if (shop.base.path / name).is_file():
            files.link_or_copy(shop.base.path / name, draft / TOKENIZER / name)


def _wording(shop: Workshop) -> dict[str, Any]:
    """What of the task file changes a prompt."""
    task = shop.task
    return {
        "name": task.name,
        "instruction": task.instruction,
        "labels": shop.splits.labels,
        "schema": task.schema,
        "kind": task.kind,
    }
