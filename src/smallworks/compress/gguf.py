"""A Hugging Face folder to a GGUF file on the PyPI `gguf` package alone: no torch, one tensor at a time.

Llama-shaped models, Qwen2 and Qwen3. Knows nothing of engines: whoever runs the file proves that it
agrees with the reference.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from gguf import (
    GGML_QUANT_SIZES,
    MODEL_ARCH,
    GGMLQuantizationType,
    GGUFWriter,
    LlamaFileType,
    RopeScalingType,
    TensorNameMap,
    get_tensor_name_map,
)
from gguf.quants import quantize as to_blocks

from smallworks import files
from smallworks.compress import shape, vocabulary
from smallworks.compress.shape import Shape
from smallworks.compress.vocabulary import Vocabulary
from smallworks.compress.weights import Weights
from smallworks.errors import ModelError
from smallworks.seams import Progress

Kind = Literal["f32", "f16", "bf16", "q8_0", "q4_0"]
ROPE_FACTORS = "rope_freqs.weight"
_IGNORED = ("rotary_emb.inv_freq", "masked_bias")
_TYPES: Mapping[Kind, tuple[GGMLQuantizationType, LlamaFileType]] = {
    "f32": (GGMLQuantizationType.F32, LlamaFileType.ALL_F32),
    "f16": (GGMLQuantizationType.F16, LlamaFileType.MOSTLY_F16),
    "bf16": (GGMLQuantizationType.BF16, LlamaFileType.MOSTLY_BF16),
    "q8_0": (GGMLQuantizationType.Q8_0, LlamaFileType.MOSTLY_Q8_0),
    "q4_0": (GGMLQuantizationType.Q4_0, LlamaFileType.MOSTLY_Q4_0),
}


def convert(folder: Path, out: Path, kind: Kind, progress: Progress) -> Path:
    """Write `out` whole or not at all. Raises ModelError for what llama.cpp would run differently.

    Norms and biases stay f32. The token embedding and the output stay q8_0 in a q4_0 file: in small
    models they are most of the quality and, tied, they are the last layer too.
    """
    facts = shape.read(folder)
    words = vocabulary.read(folder).padded(facts.vocabulary)
    weights = Weights(folder)
    plan = _plan(weights, facts, kind)
    with files.atomic(out) as temporary:
        writer = GGUFWriter(temporary, facts.architecture)
        try:
            _describe(writer, facts, kind)
            _speak(writer, words)
            for name, (source, blocks) in plan.items():
                sizes = weights.shape(source) if source else (facts.head_dim // 2,)
                writer.add_tensor_info(
                    name, sizes, np.dtype(np.float32), _bytes(sizes, blocks), raw_dtype=blocks
                )
            writer.write_header_to_file()
            writer.write_kv_data_to_file()
            writer.write_ti_data_to_file()
            for done, tensor in enumerate(_tensors(weights, facts, plan)):
                progress("quantize", done, len(plan), kind)
                writer.write_tensor_data(tensor)
        finally:
            writer.close()
    progress("quantize", len(plan), len(plan), kind)
    return out


Plan = Mapping[str, tuple[str, GGMLQuantizationType]]
"""GGUF tensor name → (source tensor name, type). The source '' is the computed rope factors."""


def _plan(weights: Weights, facts: Shape, kind: Kind) -> Plan:
    names = get_tensor_name_map(MODEL_ARCH[facts.architecture.upper()], facts.layers)
    plan: dict[str, tuple[str, GGMLQuantizationType]] = {}
    if facts.rope_factors() is not None:
        plan[ROPE_FACTORS] = ("", GGMLQuantizationType.F32)
    for source in sorted(weights):
        if source.endswith(_IGNORED) or (facts.tied and source == "lm_head.weight"):
            continue
        name = _name(names, source)
        plan[name] = (source, _blocks(name, weights.shape(source), _TYPES[kind][0]))
    if "token_embd.weight" not in plan:
        raise ModelError(
            f"The weights at '{weights.path}' have no token embedding.", fix="Download the model again."
        )
    return plan


def _name(names: TensorNameMap, source: str) -> str:
    name: str | None = names.get_name(source, try_suffixes=(".weight", ".bias"))
    if name is None:
        raise ModelError(
            f"Tensor '{source}' has no place in GGUF for this architecture.",
            fix="Merge an adapter into its base first, or use the transformers engine for this model.",
        )
    return name


def _blocks(name: str, sizes: tuple[int, ...], wanted: GGMLQuantizationType) -> GGMLQuantizationType:
    if len(sizes) == 1:
        return GGMLQuantizationType.F32
    if wanted == GGMLQuantizationType.Q4_0 and name in ("token_embd.weight", "output.weight"):
        wanted = GGMLQuantizationType.Q8_0
    # A row that does not divide into blocks of 32 cannot be quantised.
    return wanted if sizes[-1] % GGML_QUANT_SIZES[wanted][0] == 0 else GGMLQuantizationType.F16


def _bytes(sizes: tuple[int, ...], blocks: GGMLQuantizationType) -> int:
    block, width = GGML_QUANT_SIZES[blocks]
    return math.prod(sizes) // int(block) * int(width)


def _tensors(weights: Weights, facts: Shape, plan: Plan) -> Iterator[np.ndarray]:
    for source, blocks in plan.values():
        factors = facts.rope_factors()
        tensor = weights.read(source) if source or factors is None else factors
        if facts.permuted and source.endswith(("q_proj.weight", "q_proj.bias")):
            tensor = permuted(tensor, facts.heads)
        if facts.permuted and source.endswith(("k_proj.weight", "k_proj.bias")):
            tensor = permuted(tensor, facts.kv_heads)
        yield np.ascontiguousarray(to_blocks(np.ascontiguousarray(tensor), blocks))


def permuted(rows: np.ndarray, heads: int) -> np.ndarray:
    """Rows of q or k [heads · head_dim, …] from halves (x…, y…) to the pairs that llama.cpp rotates."""
    half = rows.shape[0] // heads // 2
    return rows.reshape(heads, 2, half, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape)


def _describe(writer: GGUFWriter, facts: Shape, kind: Kind) -> None:
    writer.add_type("model")
    writer.add_file_type(_TYPES[kind][1])
    writer.add_block_count(facts.layers)
    writer.add_context_length(facts.context)
    writer.add_embedding_length(facts.hidden)
    writer.add_feed_forward_length(facts.feed_forward)
    writer.add_head_count(facts.heads)
    writer.add_head_count_kv(facts.kv_heads)
    writer.add_key_length(facts.head_dim)
    writer.add_value_length(facts.head_dim)
    writer.add_rope_dimension_count(facts.head_dim)
    writer.add_rope_freq_base(facts.theta)
    writer.add_layer_norm_rms_eps(facts.epsilon)
    writer.add_vocab_size(facts.vocabulary)
    if facts.rope["rope_type"] == "linear":
        writer.add_rope_scaling_type(RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(facts.rope["factor"])


def _speak(writer: GGUFWriter, words: Vocabulary) -> None:
    writer.add_tokenizer_model(words.model)
    writer.add_tokenizer_pre(words.pre)
    writer.add_token_list(list(words.tokens))
    writer.add_token_types(list(words.types))
    if words.scores:
        writer.add_token_scores(list(words.scores))
        writer.add_add_space_prefix(words.prefix_space)
    if words.merges:
        writer.add_token_merges(list(words.merges))
    adders: dict[str, Any] = {
        "bos": writer.add_bos_token_id,
        "eos": writer.add_eos_token_id,
        "pad": writer.add_pad_token_id,
        "unk": writer.add_unk_token_id,
        "eot": writer.add_eot_token_id,
    }
    for key, id in words.ids.items():
        adders[key](id)
    # A rendered prompt carries all its special tokens.
    writer.add_add_bos_token(False)
    writer.add_add_eos_token(False)
    if words.template:
        writer.add_chat_template(words.template)
