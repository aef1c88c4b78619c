"""A model folder as ONNX with int4 weights, by onnxruntime-genai's own builder in a child process.

Takes the models that the builder knows. What it writes of the tokenizer is left out: a bundle has its own.
"""

from __future__ import annotations

import runpy
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from smallworks import child, files
from smallworks.engines.genai import ABOUT, GRAPH
from smallworks.errors import MissingExtra
from smallworks.seams import Progress, silent

BUILDER = "onnxruntime_genai.models.builder"
WRITTEN = (ABOUT, GRAPH, f"{GRAPH}.data")


def convert(folder: Path, out: Path, progress: Progress = silent) -> Path:
    """The folder `out` for the ortgenai engine, whole or not at all. ChildError where the builder fails."""
    for library in ("onnxruntime_genai", "onnx_ir", "torch"):
        if find_spec(library) is None:
            extra = "train" if library == "torch" else "genai"
            raise MissingExtra(library, extra=extra, wanted_for="'onnx-int4'")
    with files.atomic_folder(out) as draft:
        work = draft / "work"
        child.run("smallworks.compress.genai", {"folder": folder, "out": work}, progress=progress)
        for path in sorted(work.iterdir()):
            if path.name in WRITTEN:
                path.rename(draft / path.name)
            elif path.is_file():
                path.unlink()
        work.rmdir()
    return out


def main(request: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """The child: the builder's command line, which says much and asks nobody."""
    progress("onnx", 0, 1, "int4")
    asked = {"-m": "model", "-i": request["folder"], "-o": request["out"], "-p": "int4", "-e": "cpu"}
    cache = Path(request["out"]) / "cache"
    sys.argv = [BUILDER, *(str(word) for pair in asked.items() for word in pair), "-c", str(cache)]
    runpy.run_module(BUILDER, run_name="__main__")
    if cache.is_dir():
        cache.rmdir()
    progress("onnx", 1, 1, "done")
    return {}
