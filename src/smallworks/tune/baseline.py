"""The child that fits a baseline (majority, linear, fused) and writes its head. Knows no bundle."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from smallworks import files
from smallworks.engines.linear import save
from smallworks.engines.onnx import Encoder
from smallworks.seams import Progress
from smallworks.tune.linear import LinearFit, fit_linear, majority


def main(request: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """`rows` is a JSONL of [text, label, a teacher's probabilities or null], the last `taught` of them from
    a teacher; `encoder` a folder or null; `kind` 'majority' or 'linear'. Writes `held`: the number of
    each row that was held out, and the probabilities that it was given then."""
    rows = list(files.read_jsonl(Path(request["rows"])))
    texts, targets, shares = (list(column) for column in zip(*rows, strict=True))
    fit = _fit(request, texts, targets, shares, progress)
    save(fit.head, Path(request["out"]))
    said = [] if fit.said is None else np.exp(fit.said).tolist()
    files.write_jsonl(Path(request["held"]), zip(fit.held, said, strict=True))
    return {"temperature": fit.temperature, "isotonic": fit.isotonic, "held_out": fit.held_out}


def _fit(
    request: Mapping[str, Any], texts: list[str], targets: list[str], shares: list[Any], progress: Progress
) -> LinearFit:
    labels = request["labels"]
    if request["kind"] == "majority":
        return majority(labels, targets)
    embeddings = None
    if request["encoder"]:
        progress("fit", 0, 0, f"embedding {len(texts)} rows")
        embeddings = Encoder(Path(request["encoder"])).embed(texts)
    return fit_linear(
        texts,
        targets,
        labels=labels,
        embeddings=embeddings,
        shares=shares,
        taught=request["taught"],
        validation=request["validation"],
        seed=request["seed"],
        progress=progress,
    )
