"""The child that says how well words alone tell labels apart: a linear model on rows it did not see."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from smallworks.seams import Progress
from smallworks.tune.linear import fit_linear


def main(request: Mapping[str, Any], progress: Progress) -> dict[str, int]:
    """`texts` and `targets` row by row, and the `labels`; five folds where rows are few, else a tenth."""
    labels, targets = request["labels"], request["targets"]
    fit = fit_linear(request["texts"], targets, labels=labels, seed=request["seed"], progress=progress)
    if fit.said is None:
        return {"hits": 0, "rows": 0}
    said = [labels[i] for i in fit.said.argmax(axis=1)]
    return {"hits": sum(targets[i] == s for i, s in zip(fit.held, said, strict=True)), "rows": len(said)}
