"""Bytes by formula against files and published figures; what grows with what."""

from __future__ import annotations

from pathlib import Path

import pytest

from smallworks import compress, starter
from smallworks.engines import footprint, shape
from smallworks.engines.footprint import FORMATS
from smallworks.engines.shape import Shape

LLAMA_8B = Shape(
    architecture="llama",
    parameters=8_030_261_248,
    bytes=16_060_522_496,
    linear=6_979_321_856,
    widths=0,
    layers=32,
    hidden=4096,
    intermediate=14336,
    heads=32,
    kv_heads=8,
    head_dim=128,
    vocab=128256,
    context=131072,
)


@pytest.mark.parametrize(("form", "published"), [("f32", 32_128.9), ("q8_0", 8_540.8), ("q4_K_M", 4_920.7)])
def test_llama_3_1_8b_takes_what_its_published_files_take(form: str, published: float) -> None:
    """Sizes of the GGUF files on the hub in MB; they carry 8 MB of tokenizer besides."""
    assert footprint.weights(LLAMA_8B, form) / 1e6 == pytest.approx(published, rel=0.003)  # type: ignore[arg-type]


@pytest.mark.parametrize("form", ["f32", "f16", "q8_0", "q4_0"])
def test_the_starters_files_are_as_large_as_reckoned(form: str, tmp_path: Path) -> None:
    facts = shape.read(starter.MODEL)
    path = compress.quantize(starter.MODEL, tmp_path / "m.gguf", form)  # type: ignore[arg-type]
    vocabulary = path.stat().st_size - footprint.weights(facts, form)  # type: ignore[arg-type]
    assert 0 < vocabulary < 250_000


def test_tied_tables_count_once() -> None:
    assert footprint.tables(LLAMA_8B) == 2
    assert footprint.tables(shape.read(starter.MODEL)) == 1


def test_narrower_formats_take_less() -> None:
    sizes = {form: footprint.weights(LLAMA_8B, form) for form in FORMATS}
    order = ["f32", "f16", "q8_0", "int8", "q4_K_M"]
    assert [sizes[form] for form in order] == sorted((sizes[form] for form in order), reverse=True)  # type: ignore[index]


def test_keys_and_values_grow_with_tokens_and_with_key_heads_only() -> None:
    assert footprint.cache(LLAMA_8B, 1) == 2 * 32 * 8 * 128 * 2
    assert footprint.cache(LLAMA_8B, 4096) == 4096 * footprint.cache(LLAMA_8B, 1)


def test_a_small_cache_is_kept_in_float32_as_the_engine_does() -> None:
    facts = shape.read(starter.MODEL)
    assert footprint.serving(facts, "q8_0", context=512).cache == footprint.cache(facts, 512, width=4)
    large = footprint.serving(LLAMA_8B, "q8_0", context=4096)
    assert large.cache == footprint.cache(LLAMA_8B, 4096)


def test_the_parts_make_the_total() -> None:
    parts = footprint.serving(LLAMA_8B, "q4_0", context=2048, slots=4)
    assert parts.needed == parts.runtime + parts.weights + parts.cache + parts.activations
    assert parts.total == parts.needed + parts.repacked > parts.needed
    tuning = footprint.training(LLAMA_8B, rank=16, tokens=512, width=2, checkpointing=True)
    assert tuning.total == tuning.runtime + tuning.weights + tuning.trained + tuning.activations


def test_qlora_takes_less_than_lora_and_lora_less_than_all() -> None:
    lora = footprint.training(LLAMA_8B, rank=16, tokens=512, width=2)
    qlora = footprint.training(LLAMA_8B, rank=16, tokens=512, width=4, bits="nf4", checkpointing=True)
    whole = footprint.training(LLAMA_8B, rank=None, tokens=512)
    assert qlora.total < lora.total < whole.total
    assert whole.weights + whole.trained == 16 * LLAMA_8B.parameters
