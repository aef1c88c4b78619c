"""A model folder with its linear layers in bitsandbytes' 8 or 4 bits, as safetensors, by a child process.

Saved, not quantised anew at every start: the bytes of the bundle are those that answer, whatever a later
release rounds differently. The embedding and the output keep the model's own type.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from smallworks import child, files
from smallworks.compress import BnbKind
from smallworks.engines import shape
from smallworks.engines.shape import companions
from smallworks.errors import ModelError
from smallworks.seams import Progress, silent

BLOCK = 64
"""Values that share a scale in nf4."""


def convert(folder: Path, out: Path, kind: BnbKind, progress: Progress = silent) -> Path:
    """The model folder `out`, whole or not at all. Raises ModelError for widths that do not fit."""
    check(folder, kind)
    with files.atomic_folder(out) as draft:
        request = {"folder": folder, "out": draft, "kind": kind}
        child.run("smallworks.compress.bitsandbytes", request, progress=progress)
        for path in companions(folder):
            files.link_or_copy(path, draft / path.name)
    return out


def check(folder: Path, kind: BnbKind) -> None:
    """Raises ModelError for a model whose widths do not fill blocks of nf4, from its headers alone."""
    facts = shape.read(folder)
    widths = (facts.hidden, facts.intermediate, facts.heads * facts.head_dim)
    odd = [width for width in widths if width % BLOCK]
    if kind == "nf4" and odd:
        raise ModelError(
            f"'{folder}' has {odd[0]} columns, which blocks of {BLOCK} do not fill: it cannot be bnb-4bit.",
            fix="Take bnb-8bit for this model.",
        )


def main(request: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """The child: load with the linear layers quantised, and save what was loaded."""
    from smallworks.engines.transformers import load

    progress("bitsandbytes", 0, 1, request["kind"])
    model = load(Path(request["folder"]), quantization=request["kind"])
    model.save_pretrained(request["out"])
    progress("bitsandbytes", 1, 1, "done")
    return {}
