"""A cross-encoder folder (BERT-shaped, one score for a pair of texts) to int8 ONNX, in a child process.

The files and the quantisation are those of a sentence encoder. Knows nothing of what the scores are for.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from smallworks import child, files
from smallworks.compress.encoder import FILES, INPUTS, quantize
from smallworks.errors import ModelError
from smallworks.seams import Progress, silent

MOST_TOKENS = 512
"""Of question and passage together: what the known ones were trained on."""


def reranker_to_onnx(folder: Path, out: Path, *, progress: Progress = silent) -> Path:
    """Convert once: a finished `out` is returned as it is. Raises ModelError for what is no reranker."""
    if all((out / name).is_file() for name in FILES):
        return out
    config = files.read_json(folder / "config.json")
    names = config.get("architectures") or [""]
    labels = len(config.get("id2label") or ()) or config.get("num_labels", 2)
    if not names[0].endswith("ForSequenceClassification") or labels != 1:
        raise ModelError(
            f"'{folder}' is no reranker: its shape is '{names[0]}', and it gives {labels} scores.",
            fix="Give a cross-encoder with one score, e.g. cross-encoder/ms-marco-MiniLM-L6-v2.",
        )
    with files.atomic_folder(out) as draft:
        child.run("smallworks.compress.reranker", {"folder": folder, "out": draft}, progress=progress)
    return out


def main(request: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """The child: export with torch, quantise with onnxruntime, write the three files."""
    folder, out = Path(request["folder"]), Path(request["out"])
    progress("reranker", 0, 2, "export to ONNX")
    positions = _export(folder, out / "float.onnx")
    progress("reranker", 1, 2, "quantise to int8 per channel")
    quantize(out / "float.onnx", out / FILES[0])
    (out / "float.onnx").unlink()
    shutil.copyfile(folder / "tokenizer.json", out / "tokenizer.json")
    facts = {"max_tokens": min(MOST_TOKENS, positions)}
    files.write_json(out / FILES[1], facts)
    progress("reranker", 2, 2, "done")
    return facts


def _export(folder: Path, out: Path) -> int:
    """Writes the graph of one score a row, and returns how many positions the model knows."""
    import torch
    from transformers import AutoModelForSequenceClassification

    model = AutoModelForSequenceClassification.from_pretrained(
        folder, local_files_only=True, use_safetensors=True, dtype=torch.float32, attn_implementation="eager"
    ).eval()

    class Score(torch.nn.Module):  # type: ignore[misc]
        def forward(self, input_ids: Any, attention_mask: Any, token_type_ids: Any) -> Any:
            return model(
                input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids
            ).logits[:, 0]

    sample = torch.ones((2, 8), dtype=torch.long)
    axes = {name: {0: "batch", 1: "tokens"} for name in INPUTS}
    wrapped = Score()
    wrapped.add_module("model", model)
    torch.onnx.export(
        wrapped,
        (sample, sample, torch.zeros_like(sample)),
        str(out),
        input_names=list(INPUTS),
        output_names=["score"],
        dynamic_axes={**axes, "score": {0: "batch"}},
        opset_version=17,
        dynamo=False,
    )
    return int(model.config.max_position_embeddings)
