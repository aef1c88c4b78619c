"""The starter's architecture and its Hugging Face folder; knows nothing about training."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM

from training.starter import circuits
from training.starter.config import Shape
from training.starter.tokenizer import Form


def build(shape: Shape, codes: Sequence[int], forms: Sequence[Form]) -> LlamaForCausalLM:
    """A Llama with attention biases, which let a head look back by a fixed distance (circuits.py).

    Eager attention: at this size it is faster than the flash kernel's backward on a CPU.
    """
    model = LlamaForCausalLM(
        LlamaConfig(
            attn_implementation="eager",
            attention_bias=True,
            vocab_size=shape.vocab_size,
            hidden_size=shape.hidden_size,
            intermediate_size=shape.intermediate_size,
            num_hidden_layers=shape.layers,
            num_attention_heads=shape.heads,
            num_key_value_heads=shape.kv_heads,
            head_dim=shape.head_dim,
            max_position_embeddings=shape.max_positions,
            rope_parameters={"rope_type": "default", "rope_theta": shape.rope_theta},
            tie_word_embeddings=True,
            bos_token_id=0,
            eos_token_id=2,
            pad_token_id=3,
        )
    )
    circuits.give(model, codes, forms)
    return model


def load(folder: Path) -> LlamaForCausalLM:
    """Finished weights in float32, to be trained further."""
    return LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")


def save(model: LlamaForCausalLM, folder: Path) -> None:
    """bf16 weights and the two configs, each replaced in one step so that a reader never sees half a file."""
    half = copy.deepcopy(model).to(torch.bfloat16)
    half.generation_config = GenerationConfig(bos_token_id=0, eos_token_id=2, pad_token_id=3)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
        half.save_pretrained(temporary)
        for path in Path(temporary).iterdir():
            path.chmod(0o644)
            path.replace(folder / path.name)
