"""A PEFT LoRA adapter on disk: added into its base's weights, or written as a GGUF adapter. No torch needed.

Fails closed: whatever the plain formula W + scale · B·A does not cover is refused by name. Knows
nothing of how the adapter was trained.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from smallworks import files
from smallworks.compress.weights import Dtype, Weights, write
from smallworks.engines.shape import FLOAT32_BYTES, companions
from smallworks.errors import ModelError
from smallworks.seams import Progress

SMALL = FLOAT32_BYTES
_PREFIX = "base_model.model."
_PLAIN: Mapping[str, tuple[Any, ...]] = {
    "use_dora": (None, False),
    "modules_to_save": (None, []),
    "bias": (None, "none"),
    "lora_bias": (None, False),
    "fan_in_fan_out": (None, False),
    "rank_pattern": (None, {}),
    "alpha_pattern": (None, {}),
    "layer_replication": (None, []),
    "trainable_token_indices": (None, [], {}),
    "target_parameters": (None, []),
    "init_lora_weights": (None, True, False, "gaussian"),
}
"""Settings of adapter_config.json and the values that the plain formula covers."""


@dataclass(frozen=True, kw_only=True)
class Adapter:
    """`pairs` maps each base tensor to the names of its A [rank, in] and B [out, rank]."""

    path: Path
    alpha: float
    scale: float
    pairs: Mapping[str, tuple[str, str]]
    weights: Weights

    def read(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        a, b = self.pairs[name]
        return self.weights.read(a), self.weights.read(b)


def read(folder: Path) -> Adapter:
    """The adapter in `folder`. Raises ModelError when it is absent or more than plain LoRA."""
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        if not (folder / name).is_file():
            raise ModelError(
                f"No adapter at '{folder}': it holds no '{name}'.",
                fix="Give the folder of a finished LoRA run.",
            )
    config = files.read_json(folder / "adapter_config.json")
    if config.get("peft_type") != "LORA":
        raise _unplain(folder, "peft_type", config.get("peft_type"))
    for key, plain in _PLAIN.items():
        if config.get(key) not in plain:
            raise _unplain(folder, key, config[key])
    rank = math.sqrt(config["r"]) if config.get("use_rslora") else config["r"]
    weights = Weights(folder / "adapter_model.safetensors")
    return Adapter(
        path=folder,
        alpha=config["lora_alpha"],
        scale=config["lora_alpha"] / rank,
        pairs=_pairs(folder, weights),
        weights=weights,
    )


def merge(base: Path, folder: Path, out: Path, progress: Progress) -> Path:
    """`base` with the adapter added in float32, saved as the model folder `out`, whole or not at all.

    Up to 200 MiB the result stays float32; above, it has the base's own type. The tokenizer, the chat
    template and the generation settings are the base's.
    """
    adapter = read(folder)
    weights = Weights(base)
    config = files.read_json(base / "config.json")
    _check_targets(adapter, weights, tied=bool(config.get("tie_word_embeddings")))
    plan = _plan(weights)
    with files.atomic_folder(out) as draft:
        write(draft / "model.safetensors", plan, _merged(weights, adapter, plan, progress))
        for path in companions(base):
            files.link_or_copy(path, draft / path.name)
        config.pop("torch_dtype", None)
        files.write_json(draft / "config.json", {**config, "dtype": _dtype(plan)})
    return out


def convert(base: Path, folder: Path, out: Path) -> Path:
    """The adapter as GGUF (f32), for the GGUF of the same base. Raises ModelError like `read`."""
    from gguf import MODEL_ARCH, GGUFWriter, get_tensor_name_map

    from smallworks.compress import shape
    from smallworks.compress.gguf import permuted

    facts = shape.read(base)
    adapter = read(folder)
    _check_targets(adapter, Weights(base), tied=facts.tied)
    names = get_tensor_name_map(MODEL_ARCH[facts.architecture.upper()], facts.layers)
    heads = {"q_proj.weight": facts.heads, "k_proj.weight": facts.kv_heads} if facts.permuted else {}
    with files.atomic(out) as temporary:
        writer = GGUFWriter(temporary, facts.architecture)
        try:
            writer.add_type("adapter")
            writer.add_string("adapter.type", "lora")
            for source in adapter.pairs:
                a, b = adapter.read(source)
                name = names.get_name(source, try_suffixes=(".weight",))
                if name is None:
                    raise _unplain(folder, "target", source)
                count = next((n for end, n in heads.items() if source.endswith(end)), 0)
                b = permuted(b, count) if count else b
                writer.add_tensor(f"{name}.lora_a", a)
                writer.add_tensor(f"{name}.lora_b", np.ascontiguousarray(b))
            # llama.cpp scales by alpha / rank: for rank-stabilised LoRA this alpha comes to the same.
            rank = next(iter(adapter.pairs.values()))[0]
            writer.add_float32("adapter.lora.alpha", adapter.scale * adapter.weights.shape(rank)[0])
            writer.write_header_to_file()
            writer.write_kv_data_to_file()
            writer.write_tensors_to_file()
        finally:
            writer.close()
    return out


def _pairs(folder: Path, weights: Weights) -> dict[str, tuple[str, str]]:
    pairs: dict[str, tuple[str, str]] = {}
    for name in sorted(weights):
        if name.endswith(".lora_B.weight"):
            continue
        b = name.replace(".lora_A.weight", ".lora_B.weight")
        if not name.startswith(_PREFIX) or b == name or b not in weights:
            raise _unplain(folder, "tensor", name)
        pairs[name.removeprefix(_PREFIX).replace(".lora_A.weight", ".weight")] = (name, b)
    if not pairs:
        raise ModelError(f"The adapter at '{folder}' is empty.", fix="Finish the run that made it.")
    return pairs


def _check_targets(adapter: Adapter, base: Weights, *, tied: bool) -> None:
    for name, (a, b) in adapter.pairs.items():
        if name == "lm_head.weight" and tied:
            raise _unplain(adapter.path, "target of a tied embedding", name)
        product = (adapter.weights.shape(b)[0], adapter.weights.shape(a)[1])
        if name not in base or base.shape(name) != product:
            found = f"has shape {base.shape(name)}" if name in base else "does not exist"
            raise ModelError(
                f"The adapter '{adapter.path}' changes '{name}' by {product}; in '{base.path}' it {found}.",
                fix="Give the base model that the adapter was trained on.",
            )


Plan = dict[str, tuple[Dtype, tuple[int, ...]]]


def _plan(weights: Weights) -> Plan:
    """Every tensor of the base with the type to save it in."""
    size = sum(4 * math.prod(weights.shape(name)) for name in weights)
    own: dict[str, Dtype] = {"F16": "F16", "BF16": "BF16"}
    return {
        name: ("F32" if size <= SMALL else own.get(weights.dtype(name), "F32"), weights.shape(name))
        for name in weights
    }


def _dtype(plan: Plan) -> str:
    """The widest type that is saved, as config.json names it."""
    kinds = {kind for kind, _ in plan.values()}
    return "float32" if "F32" in kinds else "float16" if "F16" in kinds else "bfloat16"


def _merged(weights: Weights, adapter: Adapter, plan: Plan, progress: Progress) -> Iterator[np.ndarray]:
    for done, name in enumerate(plan):
        progress("merge", done, len(plan), name)
        tensor = weights.read(name)
        if name in adapter.pairs:
            a, b = adapter.read(name)
            tensor = tensor + np.float32(adapter.scale) * (b @ a)
        yield tensor
    progress("merge", len(plan), len(plan), "done")


def _unplain(folder: Path, key: str, value: Any) -> ModelError:
    return ModelError(
        f"The adapter at '{folder}' has {key} = {value!r}, which is more than plain LoRA.",
        fix="Merge it with PEFT itself, or train a plain LoRA adapter.",
    )
