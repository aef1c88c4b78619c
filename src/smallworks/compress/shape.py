"""The shape of a Llama-like model as config.json tells it, in the terms of GGUF; anything else is refused.

Fails closed: a setting that llama.cpp would silently ignore is an error here. Knows nothing of
weights or tokens.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from smallworks.errors import ModelError, nearest
from smallworks.files import read_json

ARCHITECTURES: Mapping[str, str] = {"llama": "llama", "mistral": "llama", "qwen2": "qwen2", "qwen3": "qwen3"}
"""`model_type` in config.json → GGUF architecture. SmolLM and SmolLM2 call themselves llama."""


@dataclass(frozen=True, kw_only=True)
class Shape:
    """Sizes of the model. `rope` is the rope parameters as transformers names them."""

    architecture: str
    layers: int
    hidden: int
    feed_forward: int
    heads: int
    kv_heads: int
    head_dim: int
    context: int
    vocabulary: int
    epsilon: float
    theta: float
    rope: Mapping[str, Any]
    tied: bool

    @property
    def permuted(self) -> bool:
        """Whether llama.cpp wants the rows of q and k interleaved (its 'norm' rope) instead of halved."""
        return self.architecture == "llama"

    def rope_factors(self) -> np.ndarray | None:
        """Llama 3's divisors of the rope frequencies, [head_dim / 2] float32; None without such scaling.

        Source: transformers, modeling_rope_utils.py, `_compute_llama3_parameters`.
        """
        if self.rope["rope_type"] != "llama3":
            return None
        factor, low, high = (self.rope[k] for k in ("factor", "low_freq_factor", "high_freq_factor"))
        original = self.rope["original_max_position_embeddings"]
        frequencies = 1.0 / self.theta ** (np.arange(0, self.head_dim, 2, dtype=np.float64) / self.head_dim)
        wavelengths = 2 * math.pi / frequencies
        smooth = np.clip((original / wavelengths - low) / (high - low), 0.0, 1.0)
        divisors: np.ndarray = (1.0 / ((1 - smooth) / factor + smooth)).astype(np.float32)
        return divisors


def read(folder: Path) -> Shape:
    """The shape of the model in `folder`. Raises ModelError for one that cannot be converted here."""
    path = folder / "config.json"
    if not path.is_file():
        raise ModelError(
            f"No model at '{folder}': it holds no config.json.",
            fix="Give the folder of a Hugging Face model.",
        )
    config = read_json(path)
    kind = config.get("model_type", "")
    if kind not in ARCHITECTURES:
        raise ModelError(
            f"'{path}' describes a '{kind}' model, which cannot be converted here.",
            fix=nearest(kind, ARCHITECTURES),
        )
    if config.get("hidden_act", "silu") != "silu":
        raise _unknown(path, "hidden_act", config["hidden_act"])
    hidden, heads = config["hidden_size"], config["num_attention_heads"]
    if kind == "qwen2" and config.get("head_dim", hidden // heads) * heads != hidden:
        raise _unknown(path, "head_dim", config["head_dim"])  # llama.cpp computes it from the width
    rope = _rope(path, config)
    return Shape(
        architecture=ARCHITECTURES[kind],
        layers=config["num_hidden_layers"],
        hidden=hidden,
        feed_forward=config["intermediate_size"],
        heads=heads,
        kv_heads=config.get("num_key_value_heads") or heads,
        head_dim=config.get("head_dim") or hidden // heads,
        context=_context(config),
        vocabulary=config["vocab_size"],
        epsilon=config["rms_norm_eps"],
        theta=float(rope.get("rope_theta") or config.get("rope_theta") or 10000.0),
        rope=rope,
        tied=bool(config.get("tie_word_embeddings", False)),
    )


def _rope(path: Path, config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Rope settings of transformers 5 (`rope_parameters`) or 4 (`rope_scaling`), the type always named."""
    rope = dict(config.get("rope_parameters") or config.get("rope_scaling") or {})
    rope["rope_type"] = rope.get("rope_type") or rope.get("type") or "default"
    if rope["rope_type"] not in ("default", "linear", "llama3"):
        raise _unknown(path, "rope_type", rope["rope_type"])
    if rope.get("partial_rotary_factor", config.get("partial_rotary_factor", 1.0)) != 1.0:
        raise _unknown(path, "partial_rotary_factor", rope.get("partial_rotary_factor"))
    return rope


def _context(config: Mapping[str, Any]) -> int:
    """Positions that mean the same in GGUF: up to a sliding window, which llama.cpp would not slide here."""
    window = config.get("sliding_window") if config.get("use_sliding_window", True) else None
    longest: int = config["max_position_embeddings"]
    return min(longest, window or longest)


def _unknown(path: Path, key: str, value: Any) -> ModelError:
    return ModelError(
        f"'{path}' has {key} = {value!r}, which is not converted here.",
        fix="Use the transformers engine for this model.",
    )
