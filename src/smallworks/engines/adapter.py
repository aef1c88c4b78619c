"""A PEFT LoRA adapter merged into a model's weights, without importing PEFT (which takes seconds).

Plain LoRA only: W ← W + (alpha / r) · B A in float32, then back to the weight's own type. Knows nothing
of training. PEFT's other methods are refused by name.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smallworks import files
from smallworks.errors import ModelError

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
PREFIX = "base_model.model."


def merge(model: Module, folder: Path) -> None:
    """Add the adapter in `folder` to `model`, in place. Raises ModelError when it does not fit."""
    import torch
    from safetensors.torch import load_file

    config = configuration(folder)
    weights = load_file(str(folder / WEIGHTS))
    modules = dict(model.named_modules())
    with torch.no_grad():
        for name, low in weights.items():
            if not name.endswith(".lora_A.weight"):
                continue
            path = name.removeprefix(PREFIX).removesuffix(".lora_A.weight")
            high = weights[name.replace(".lora_A.", ".lora_B.")]
            _add(modules.get(path), path, scale(config, path) * (high.float() @ low.float()), folder)


def configuration(folder: Path) -> Mapping[str, Any]:
    """The adapter's config. Raises ModelError when it is missing or is not plain LoRA."""
    missing = [name for name in (CONFIG, WEIGHTS) if not (folder / name).is_file()]
    if missing:
        raise ModelError(
            f"No adapter at '{folder}': there is no {missing[0]}.",
            fix="Finish the tuning with: smallworks build",
        )
    config: Mapping[str, Any] = files.read_json(folder / CONFIG)
    extras = ("use_dora", "modules_to_save", "trainable_token_indices", "lora_bias", "fan_in_fan_out")
    odd = [key for key in extras if config.get(key)]
    if config.get("peft_type") != "LORA" or odd:
        kind = f"LoRA with {odd[0]}" if odd else config.get("peft_type")
        raise ModelError(
            f"The adapter at '{folder}' is {kind}; plain LoRA can be loaded here.",
            fix="Merge it into its base with PEFT and name the merged folder as the base.",
        )
    return config


def scale(config: Mapping[str, Any], module: str) -> float:
    """alpha / r of one module (alpha / √r where the adapter is rank-stabilised)."""
    rank = _pattern(config.get("rank_pattern") or {}, module, config["r"])
    alpha = _pattern(config.get("alpha_pattern") or {}, module, config["lora_alpha"])
    return float(alpha / (math.sqrt(rank) if config.get("use_rslora") else rank))


def _pattern(patterns: Mapping[str, float], module: str, default: float) -> float:
    return next((value for key, value in patterns.items() if module.endswith(key)), default)


def _add(module: Module | None, path: str, delta: Tensor, folder: Path) -> None:
    weight = getattr(module, "weight", None)
    if weight is None or weight.shape != delta.shape:
        found = "no such module" if weight is None else tuple(weight.shape)
        wanted = tuple(delta.shape)
        raise ModelError(
            f"The adapter at '{folder}' does not fit this base: '{path}' should be {wanted}, but is {found}.",
            fix="Use the base that the adapter was tuned on.",
        )
    weight.copy_((weight.float() + delta.to(weight.device)).to(weight.dtype))
