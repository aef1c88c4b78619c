"""The child that finds rows whose label a linear model, fitted on the others, finds most improbable.

Confident learning (Northcutt et al. 2021) on out-of-fold probabilities: a row is a suspect when another label
is as probable as that label usually is where it is given. Knows no files of a task; changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from smallworks import files
from smallworks.engines import calibration
from smallworks.engines.linear import log_softmax
from smallworks.errors import MissingExtra
from smallworks.seams import Progress, silent
from smallworks.tune.linear import C_LINEAR, fit_head

FOLDS = 5
MOST_PROBABLE = 0.1
"""A given label that is at least this probable (0–1) is left alone, whatever else is likely."""


def main(request: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """`rows` is a JSONL of [text, label], `labels` their set; the least probable given label comes first."""
    rows = list(files.read_jsonl(Path(request["rows"])))
    texts, targets = [text for text, _ in rows], [label for _, label in rows]
    found = suspects(texts, targets, labels=request["labels"], seed=request["seed"], progress=progress)
    return {"suspects": found}


def suspects(
    texts: Sequence[str],
    targets: Sequence[str],
    *,
    labels: Sequence[str],
    seed: int = 0,
    progress: Progress = silent,
) -> list[dict[str, Any]]:
    """`at` (index), `given`, `likely`, and the probability of each out of fold.

    None where a label has a single row: nothing could be fitted without it.
    """
    index = {label: i for i, label in enumerate(labels)}
    y = np.array([index[target] for target in targets])
    probabilities = _out_of_fold(texts, y, labels, seed, progress)
    if probabilities is None:
        return []
    own = probabilities[np.arange(len(y)), y]
    usual = np.array([own[y == j].mean() if (y == j).any() else 1.0 for j in range(len(labels))])
    confident = np.where(probabilities >= usual, probabilities, 0.0)
    confident[np.arange(len(y)), y] = 0.0
    likely = confident.argmax(axis=1)
    doubtful = np.flatnonzero((confident.max(axis=1) > 0) & (own < MOST_PROBABLE))
    return [
        {
            "at": int(i),
            "given": labels[y[i]],
            "likely": labels[likely[i]],
            "p_given": float(own[i]),
            "p_likely": float(probabilities[i, likely[i]]),
        }
        for i in sorted(doubtful, key=lambda i: (own[i], i))
    ]


def _out_of_fold(
    texts: Sequence[str], y: np.ndarray, labels: Sequence[str], seed: int, progress: Progress
) -> np.ndarray | None:
    """Calibrated probabilities [rows, labels] by heads that did not see the row; None for too few rows."""
    try:
        from sklearn.model_selection import StratifiedKFold
    except ImportError as error:
        raise MissingExtra("scikit-learn", extra="eval", wanted_for="Looking for doubtful labels") from error
    counts = np.bincount(y)
    folds = min(FOLDS, int(np.sort(counts[counts > 0])[0]))
    if folds < 2 or np.count_nonzero(counts) < 2:
        return None
    margins = np.zeros((len(y), len(labels)))
    parts = StratifiedKFold(folds, shuffle=True, random_state=seed).split(np.zeros(len(y)), y)
    for done, (fitted, held) in enumerate(parts):
        progress("suspects", done, folds, "")
        some = [texts[i] for i in fitted]
        head = fit_head(some, y[fitted], [None] * len(some), labels, None, C_LINEAR, seed)
        for i in held:
            margins[i] = head.margins(texts[i])
    logp = log_softmax(margins)
    temperature, curve = calibration.fit(logp, y)
    progress("suspects", folds, folds, "done")
    calibrated: np.ndarray = np.exp(calibration.apply(logp, temperature=temperature, isotonic=curve))
    return calibrated
