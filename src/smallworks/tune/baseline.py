"""The child that fits a baseline (majority, linear, fused) and writes its head. Knows no bundle."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from smallworks import files
from smallworks.engines.linear import save
from smallworks.engines.onnx import Encoder
from smallworks.engines.scope import ScopeFit
from smallworks.seams import Progress
from smallworks.tune.linear import LinearFit, fit_linear, majority


def main(request: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """`rows` is a JSONL of [text, label, a teacher's probabilities or null], the last `taught` of them from
    a teacher; `encoder` a folder or null; `kind` 'majority' or 'linear'; `scope` null, or the `loss` allowed
    in scope, the mark of rows out of it (`label`) and their texts (`outside`). Writes `held`: the number of
    each row that was held out, the probabilities that it was given then, and true where it was abstained."""
    rows = list(files.read_jsonl(Path(request["rows"])))
    texts, targets, shares = (list(column) for column in zip(*rows, strict=True))
    fit = _fit(request, texts, targets, shares, progress)
    save(fit.head, Path(request["out"]))
    asked = request["scope"]
    found = None if asked is None else fit.scope(asked["loss"], asked["label"])
    files.write_jsonl(Path(request["held"]), _held(fit, found))
    return {
        "temperature": fit.temperature,
        "isotonic": fit.isotonic,
        "held_out": fit.held_out,
        "scope": asdict(found) if found else None,
    }


def _held(fit: LinearFit, found: ScopeFit | None) -> Iterator[list[Any]]:
    """A line for each row that was held out."""
    if fit.said is None:
        return
    lost = fit.abstains(found.scope) if found and found.scope else np.zeros(fit.held_out, bool)
    for row, said, kept_back in zip(fit.held, np.exp(fit.said).tolist(), lost, strict=True):
        yield [row, said, *([True] if kept_back else [])]


def _fit(
    request: Mapping[str, Any], texts: list[str], targets: list[str], shares: list[Any], progress: Progress
) -> LinearFit:
    labels = request["labels"]
    if request["kind"] == "majority":
        return majority(labels, targets)
    outside = request["scope"]["outside"] if request["scope"] else []
    embeddings = beyond = None
    if request["encoder"]:
        progress("fit", 0, 0, f"embedding {len(texts)} rows")
        encoder = Encoder(Path(request["encoder"]))
        embeddings, beyond = encoder.embed(texts), encoder.embed(outside)
    return fit_linear(
        texts,
        targets,
        labels=labels,
        embeddings=embeddings,
        shares=shares,
        taught=request["taught"],
        validation=request["validation"],
        seed=request["seed"],
        outside=outside,
        outside_embeddings=beyond,
        progress=progress,
    )
