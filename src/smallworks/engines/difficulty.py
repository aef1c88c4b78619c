"""How hard an input is for the first stage of a cascade, told by the input alone, before any stage answers.

Its length, its signs, how near it is to labelled rows, and how many of the nearest that stage got wrong,
under one logistic model. Knows texts and numbers; knows nothing of stages or thresholds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from smallworks import files
from smallworks.engines.shots import POOL_ROWS, ShotFinder

MODEL, ROWS = "difficulty.json", "difficulty.jsonl"
NEIGHBOURS = 8
SIGNS = ("isdigit", "isupper", "isspace", "isascii")
"""Kinds of characters whose share is looked at; what is not ASCII tells languages apart, roughly."""
FARTHEST = 3.0
"""Standard deviations from the labelled rows' mean that count: what is stranger is not judged by more."""
NEAREST = 1e-6
"""The weight of a neighbour that has nothing in common, or of none at all."""


class Neighbours(ShotFinder):
    """Labelled rows by likeness; `good` tells whether the first stage is good enough on each, [n]."""

    def __init__(self, texts: Sequence[str], good: Sequence[bool]) -> None:
        super().__init__([(text, str(int(one))) for text, one in zip(texts, good, strict=True)][:POOL_ROWS])

    def features(self, text: str) -> list[float]:
        """Log length, shares of SIGNS, likeness of the nearest and of all NEIGHBOURS, the share of good ones.

        Rows of this very text are left out, so that a row can be judged by the others.
        """
        size = max(1, len(text))
        found = self.ranked(text, NEIGHBOURS)
        weights = [like + NEAREST for _, like in found] or [NEAREST]
        good = sum(w for (row, _), w in zip(found, weights, strict=False) if self.pool[row][1] == "1")
        return [
            math.log1p(len(text)),
            *(sum(getattr(c, sign)() for c in text) / size for sign in SIGNS),
            max(weights),
            sum(weights) / len(weights),
            good / sum(weights),
        ]


@dataclass(frozen=True, kw_only=True)
class Difficulty:
    """`centre`, `scale` and `weights` are of the features, in their order."""

    neighbours: Neighbours
    centre: tuple[float, ...]
    scale: tuple[float, ...]
    weights: tuple[float, ...]
    bias: float

    def likely(self, text: str) -> float:
        """How likely the first stage is good enough for this input, 0–1."""
        x = (np.array(self.neighbours.features(text)) - self.centre) / self.scale
        odds = float(np.clip(x, -FARTHEST, FARTHEST) @ np.array(self.weights)) + self.bias
        return 1 / (1 + math.exp(-odds))


def fit(texts: Sequence[str], good: Sequence[bool]) -> Difficulty | None:
    """From labelled rows; None where all are good or none is. Needs scikit-learn."""
    if len(set(map(bool, good))) < 2:
        return None
    from sklearn.linear_model import LogisticRegression

    neighbours = Neighbours(texts, good)
    x = np.array([neighbours.features(text) for text in texts])
    centre, scale = x.mean(axis=0), x.std(axis=0) + NEAREST
    model = LogisticRegression().fit((x - centre) / scale, np.array(good, dtype=int))
    return Difficulty(
        neighbours=neighbours,
        centre=tuple(centre.tolist()),
        scale=tuple(scale.tolist()),
        weights=tuple(model.coef_[0].tolist()),
        bias=float(model.intercept_[0]),
    )


def write(folder: Path, one: Difficulty) -> None:
    """As JSON: the model, and its labelled rows."""
    parts = {name: getattr(one, name) for name in ("centre", "scale", "weights", "bias")}
    files.write_json(folder / MODEL, parts)
    files.write_jsonl(folder / ROWS, one.neighbours.pool)


def read(folder: Path) -> Difficulty:
    raw: Mapping[str, Any] = files.read_json(folder / MODEL)
    pool = list(files.read_jsonl(folder / ROWS))
    return Difficulty(
        neighbours=Neighbours([text for text, _ in pool], [good == "1" for _, good in pool]),
        centre=tuple(raw["centre"]),
        scale=tuple(raw["scale"]),
        weights=tuple(raw["weights"]),
        bias=raw["bias"],
    )
