"""What a model folder says of itself: layers, widths, parameters, bytes. Reads headers; knows no torch."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smallworks import files
from smallworks.errors import ModelError

CONFIG = "config.json"
FLOAT32_BYTES = 200 * 2**20
"""Bytes of float32 weights up to which a merged model is saved in float32; above, in the base's own type."""
HEADER_LIMIT = 100_000_000
"""Longest safetensors header in bytes, as the format's own reader has it."""


@dataclass(frozen=True, kw_only=True)
class Shape:
    """`parameters` counts tied weights once; `bytes` is what the weight files take on disk.

    `linear` counts the parameters of all linear layers, the language-model head not among them, and
    `widths` is the sum of their inputs and outputs: a LoRA of rank r adds r times as many parameters.
    """

    architecture: str
    parameters: int
    bytes: int
    linear: int
    widths: int
    layers: int
    hidden: int
    intermediate: int
    heads: int
    kv_heads: int
    head_dim: int
    vocab: int
    context: int


def read(folder: Path) -> Shape:
    """Raises ModelError for a folder without a config, without safetensors, or with a truncated file."""
    config = configuration(folder)
    text = config.get("text_config", config)
    hidden, heads = text.get("hidden_size", 0), text.get("num_attention_heads", 1)
    weights = weight_files(folder)
    sizes = {name: entry["shape"] for file in weights for name, entry in tensors(file)}
    linear = list(linears(folder).values())
    return Shape(
        architecture=(config.get("architectures") or ["unknown"])[0],
        parameters=sum(math.prod(size) * _packed(name) for name, size in sizes.items()),
        bytes=sum(file.stat().st_size for file in weights),
        linear=sum(map(math.prod, linear)),
        widths=sum(map(sum, linear)),
        layers=text.get("num_hidden_layers", 0),
        hidden=hidden,
        intermediate=text.get("intermediate_size", 4 * hidden),
        heads=heads,
        kv_heads=text.get("num_key_value_heads") or heads,
        head_dim=text.get("head_dim") or hidden // heads,
        vocab=text.get("vocab_size", 0),
        context=text.get("max_position_embeddings", 0),
    )


def _packed(name: str) -> int:
    """Parameters in one value of a tensor: compressed-tensors packs eight of 4 bits into one of 32."""
    return 8 if name.endswith(".weight_packed") else 1


def linears(folder: Path) -> dict[str, tuple[int, int]]:
    """Outputs and inputs of every linear layer but the language-model head, by the name of its tensor."""
    found = (entry for file in weight_files(folder) for entry in tensors(file))
    return {
        name: (entry["shape"][0], entry["shape"][1])
        for name, entry in found
        if len(entry["shape"]) == 2 and not re.search("embed|lm_head", name)
    }


def configuration(folder: Path) -> Mapping[str, Any]:
    """The parsed config.json. Raises ModelError where there is none or it asks for code of its own."""
    if not (folder / CONFIG).is_file():
        held = ", ".join(sorted(f.name for f in folder.iterdir())[:6]) if folder.is_dir() else "nothing"
        raise ModelError(
            f"No model at '{folder}': there is no {CONFIG} (found: {held or 'nothing'}).",
            fix="Name a folder with config.json, tokenizer.json and *.safetensors.",
        )
    config: Mapping[str, Any] = files.read_json(folder / CONFIG)
    if "auto_map" in config and not config.get("model_type"):
        raise ModelError(
            f"The model at '{folder}' runs only with code of its own, which is never executed here.",
            fix="Choose a model whose architecture transformers knows.",
        )
    return config


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files, sorted. Raises ModelError for a folder that holds only pickles or none."""
    found = sorted(folder.glob("*.safetensors"))
    if found:
        return found
    pickles = sorted(f.name for f in folder.glob("*.bin"))
    if pickles:
        raise ModelError(
            f"The weights at '{folder}' are pickles ('{pickles[0]}'), which can run code when they are read.",
            fix="Convert them to safetensors, or take a revision that has *.safetensors.",
        )
    raise ModelError(f"No weights at '{folder}': there is no *.safetensors.", fix="Download the model again.")


def merged_type(folder: Path) -> str:
    """What a model merged from this base is saved in: 'float32', 'float16' or 'bfloat16'."""
    if 4 * read(folder).parameters <= FLOAT32_BYTES:
        return "float32"
    _, first = next(tensors(weight_files(folder)[0]))
    return {"F16": "float16", "BF16": "bfloat16"}.get(first["dtype"], "float32")


def companions(folder: Path) -> list[Path]:
    """What stands beside the weights and config.json: tokenizer, chat template, generation settings."""
    kept = (path for path in folder.iterdir() if path.suffix in (".json", ".jinja", ".model", ".txt"))
    return sorted(path for path in kept if path.name != CONFIG and "safetensors" not in path.name)


def tensors(file: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The entries of a safetensors header by name: dtype, shape, data_offsets."""
    size = file.stat().st_size
    with file.open("rb") as opened:
        length = int.from_bytes(opened.read(8), "little")
        if not 0 < length <= min(size - 8, HEADER_LIMIT):
            raise _truncated(file)
        try:
            header = json.loads(opened.read(length))
        except ValueError as error:
            raise _truncated(file) from error
    header.pop("__metadata__", None)
    if max((entry["data_offsets"][1] for entry in header.values()), default=0) + 8 + length != size:
        raise _truncated(file)
    yield from header.items()


def _truncated(file: Path) -> ModelError:
    return ModelError(
        f"'{file}' is truncated or not a safetensors file ({file.stat().st_size} bytes).",
        fix="Download or copy it again.",
    )
