"""What a bundle will take in memory, told from its files before anything is loaded: weights, keys, values.

An estimate to plan by; whoever loads it measures. Knows engines by what their files look like, loads none.
"""

from __future__ import annotations

from pathlib import Path

from smallworks import files
from smallworks.bundle.manifest import Base, Manifest, precision
from smallworks.bundle.store import Bundle, open_bundle
from smallworks.engines import gguf_file
from smallworks.engines.footprint import BATCH, EXACT_CACHE, REPACKED, VOCABULARY
from smallworks.engines.llamacpp import SLOTS, cache_bytes, context_of

SPARE = 1.25
"""Room for activations, beside the weights, where a formula knows no better."""
LEAST = 4_000_000
"""What the smallest bundle takes: its vocabulary as Python keeps it."""
WIDENED = 6
"""Bytes in memory for one of a linear model's file: float16 becomes float32, n-grams become a dictionary."""


SEARCHED = 2
"""Bytes in memory for one of an index: vectors become float32, pages that were read are kept."""


def bytes_of(bundle: Bundle) -> int:
    """Bytes that the open bundle will hold, the libraries behind it not counted."""
    manifest = bundle.manifest
    inner = sum(bytes_of(open_bundle(bundle.file(stage.path))) for stage in manifest.stages)
    if manifest.engine == "retrieval":
        index = files.size_of(bundle.file(manifest.model or ""))
        beside = sum(files.size_of(bundle.file(one)) for one in (manifest.encoder, manifest.reranker) if one)
        return inner + LEAST + SEARCHED * index + int(SPARE * beside)
    if manifest.stages:
        return inner
    if manifest.engine in ("http", "fake"):
        return LEAST
    if manifest.engine in ("linear", "onnx"):
        head = bundle.file(manifest.model or "linear")
        encoder = bundle.file(manifest.encoder) if manifest.encoder else None
        return LEAST + WIDENED * files.size_of(head) + int(SPARE * (files.size_of(encoder) if encoder else 0))
    weights = bundle.file(manifest.model) if manifest.model else _base(manifest.base)
    if manifest.engine == "llamacpp" and weights.is_file():
        return LEAST + _gguf(weights, manifest) + adapter_bytes(bundle)
    return LEAST + int(SPARE * files.size_of(weights)) if weights.exists() else LEAST


def adapter_bytes(bundle: Bundle) -> int:
    """Bytes of an adapter that llama.cpp holds beside the base; 0 where there is none."""
    manifest = bundle.manifest
    beside = manifest.engine == "llamacpp" and manifest.adapter
    return files.size_of(bundle.file(manifest.adapter)) if beside and manifest.adapter else 0


def _base(base: Base | None) -> Path:
    from smallworks import starter

    return starter.MODEL if base is None or base.source == "starter" else Path(base.ref)


def _gguf(path: Path, manifest: Manifest) -> int:
    """The file, its repacked copy, keys and values of every slot, and what one batch of a prompt takes."""
    header, size = gguf_file.read(path), path.stat().st_size
    context = context_of(header, 0)
    cache = cache_bytes(header, context * SLOTS)
    kept = cache if cache <= EXACT_CACHE else cache // 2
    hidden = int(header.of_architecture("embedding_length") or 0)
    inner = int(header.of_architecture("feed_forward_length") or 4 * hidden)
    heads = int(header.of_architecture("attention.head_count") or 1)
    read = 2 * min(BATCH, context) * (4 * hidden + 3 * inner + heads * context)
    twice = size if (precision(manifest) or "").lower() in map(str.lower, REPACKED) else 0
    words = VOCABULARY * len(header.metadata.get("tokenizer.ggml.tokens", ()))
    return size + twice + kept + read + words
