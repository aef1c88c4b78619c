"""A sentence-embedding folder (BERT-shaped, sentence-transformers layout) to int8 ONNX, in a child process.

Per-channel int8 loses nothing measurable, per-tensor loses a point (engines.md of the design notes).
Knows nothing of what the vectors are for.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from smallworks import child, files
from smallworks.errors import MissingExtra, ModelError
from smallworks.seams import Progress, silent

INPUTS = ("input_ids", "attention_mask", "token_type_ids")
MAX_TOKENS = 128
FILES = ("encoder.onnx", "encoder.json", "tokenizer.json")


def encode_to_onnx(folder: Path, out: Path, *, progress: Progress = silent) -> Path:
    """Convert once: a finished `out` is returned as it is. Raises ModelError for what is no encoder."""
    if all((out / name).is_file() for name in FILES):
        return out
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        if not (folder / name).is_file():
            raise ModelError(
                f"No sentence encoder at '{folder}': it has no '{name}'.",
                fix="Give a folder or hub id of an embedding model in safetensors, e.g. all-MiniLM-L6-v2.",
            )
    with files.atomic_folder(out) as draft:
        child.run("smallworks.compress.encoder", {"folder": folder, "out": draft}, progress=progress)
    return out


def main(request: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """The child: export with torch, quantise with onnxruntime, write the three files."""
    folder, out = Path(request["folder"]), Path(request["out"])
    progress("encoder", 0, 2, "export to ONNX")
    dimension = _export(folder, out / "float.onnx")
    progress("encoder", 1, 2, "quantise to int8 per channel")
    quantize(out / "float.onnx", out / FILES[0])
    (out / "float.onnx").unlink()
    shutil.copyfile(folder / "tokenizer.json", out / "tokenizer.json")
    facts = {"pooling": _pooling(folder), "max_tokens": MAX_TOKENS, "dimension": dimension}
    files.write_json(out / "encoder.json", facts)
    progress("encoder", 2, 2, "done")
    return facts


def _export(folder: Path, out: Path) -> int:
    import torch
    from transformers import AutoModel

    model = AutoModel.from_pretrained(
        folder, local_files_only=True, use_safetensors=True, dtype=torch.float32, attn_implementation="eager"
    ).eval()

    class Hidden(torch.nn.Module):  # type: ignore[misc]
        def forward(self, input_ids: Any, attention_mask: Any, token_type_ids: Any) -> Any:
            return model(
                input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids
            ).last_hidden_state

    sample = torch.ones((2, 8), dtype=torch.long)
    axes = {name: {0: "batch", 1: "tokens"} for name in (*INPUTS, "hidden")}
    wrapped = Hidden()
    wrapped.add_module("model", model)
    torch.onnx.export(
        wrapped,
        (sample, sample, torch.zeros_like(sample)),
        str(out),
        input_names=list(INPUTS),
        output_names=["hidden"],
        dynamic_axes=axes,
        opset_version=17,
        dynamo=False,
    )
    return int(model.config.hidden_size)


def quantize(source: Path, out: Path) -> None:
    """Weights in int8, each output channel with a scale of its own."""
    try:
        from onnxruntime.quantization import QuantType, quantize_dynamic
    except ImportError as error:
        raise MissingExtra(
            "onnx and onnxruntime", extra="eval", wanted_for="Quantising an encoder"
        ) from error
    quantize_dynamic(str(source), str(out), weight_type=QuantType.QInt8, per_channel=True)


def _pooling(folder: Path) -> str:
    """'mean' or 'cls', from the sentence-transformers pooling file; mean where there is none."""
    path = folder / "1_Pooling" / "config.json"
    if not path.is_file():
        return "mean"
    facts = files.read_json(path)
    if facts.get("pooling_mode_cls_token"):
        return "cls"
    if facts.get("pooling_mode_mean_tokens", True):
        return "mean"
    raise ModelError(
        f"The pooling in '{path}' is neither mean nor cls.",
        fix="Choose an embedding model with one of these.",
    )
