"""A token-classification folder to ONNX in 32 bits, in a child process. Knows nothing of what names are for.

Nothing is quantised: what that would cost in missed names was not measured.
"""

from __future__ import annotations

import inspect
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from smallworks import child, files
from smallworks.compress.encoder import FILES, INPUTS
from smallworks.engines.names import refuse_nameless
from smallworks.seams import Progress, silent

MOST_TOKENS = 512
POSITIONS_KEPT = 2
"""RoBERTa's shapes count positions from 2 on, and so have two fewer than they say."""


def names_to_onnx(folder: Path, out: Path, *, progress: Progress = silent) -> Path:
    """Convert once: a finished `out` is returned as it is. Raises ModelError for what tells no names."""
    if all((out / name).is_file() for name in FILES):
        return out
    labels = files.read_json(folder / "config.json").get("id2label") or {}
    refuse_nameless(list(labels.values()), folder)
    with files.atomic_folder(out) as draft:
        child.run("smallworks.compress.names", {"folder": folder, "out": draft}, progress=progress)
    return out


def main(request: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """The child: export with torch, write the three files."""
    folder, out = Path(request["folder"]), Path(request["out"])
    progress("names", 0, 1, "export to ONNX")
    config = _export(folder, out / FILES[0])
    shutil.copyfile(folder / "tokenizer.json", out / "tokenizer.json")
    longest = getattr(config, "max_position_embeddings", MOST_TOKENS + POSITIONS_KEPT) - POSITIONS_KEPT
    facts = {
        "labels": [config.id2label[at] for at in range(config.num_labels)],
        "max_tokens": min(MOST_TOKENS, longest),
    }
    files.write_json(out / FILES[1], facts)
    progress("names", 1, 1, "done")
    return facts


def _export(folder: Path, out: Path) -> Any:
    """Writes the graph of one score a token and label, and returns the model's configuration."""
    import torch
    from transformers import AutoModelForTokenClassification

    model = AutoModelForTokenClassification.from_pretrained(
        folder, local_files_only=True, use_safetensors=True, dtype=torch.float32, attn_implementation="eager"
    ).eval()
    taken = inspect.signature(model.forward).parameters
    names = [name for name in INPUTS if name in taken]

    class Labels(torch.nn.Module):  # type: ignore[misc]
        def forward(self, *given: Any) -> Any:
            return model(**dict(zip(names, given, strict=True))).logits

    wrapped = Labels()
    wrapped.add_module("model", model)
    sample = {name: torch.ones((2, 8), dtype=torch.long) for name in names}
    if "token_type_ids" in sample:
        sample["token_type_ids"] = torch.zeros((2, 8), dtype=torch.long)
    torch.onnx.export(
        wrapped,
        tuple(sample.values()),
        str(out),
        input_names=names,
        output_names=["labels"],
        dynamic_axes={name: {0: "batch", 1: "tokens"} for name in (*names, "labels")},
        opset_version=17,
        dynamo=False,
    )
    return model.config
