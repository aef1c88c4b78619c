"""Sift new rows against those that are there: leaks, repeats, rows that are much alike. How varied they are.

Pure functions over texts; knows neither files nor who wrote the rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from smallworks.data.near import folded, similar

Reason = Literal[
    "leak", "repeats a training row", "repeats a new row", "like a training row", "like a new row"
]


@dataclass(frozen=True, kw_only=True)
class Sifted:
    """Why a new row is taken out. `twin` is the text that it repeats or is like."""

    reason: Reason
    twin: str


def sift(new: Sequence[str], *, held_out: Sequence[str], known: Sequence[str]) -> list[Sifted | None]:
    """For each new text why it is taken out, or None; the first of several new ones that are alike stays.

    Alike means at least 80 % of shared four-character sequences. `held_out` texts come before `known` ones:
    what is like a test row must not be trained on, whatever else it is like.
    """
    before = [*held_out, *known]
    folds = [folded(text) for text in (*before, *new)]
    first: dict[str, int] = {}
    found: dict[int, Sifted] = {}
    for at, fold in enumerate(folds):
        twin = first.setdefault(fold, at)
        if twin != at and at >= len(before):
            found[at] = _sifted(twin, held_out, before, new, exactly=True)

    def worth(earlier: int, later: int) -> bool:
        return later >= len(before) and later not in found and earlier not in found

    for earlier, later, _ in similar(folds, worth=worth):
        found.setdefault(later, _sifted(earlier, held_out, before, new, exactly=False))
    return [found.get(at) for at in range(len(before), len(folds))]


def _sifted(
    twin: int, held_out: Sequence[str], before: Sequence[str], new: Sequence[str], *, exactly: bool
) -> Sifted:
    text = before[twin] if twin < len(before) else new[twin - len(before)]
    if twin < len(held_out):
        return Sifted(reason="leak", twin=text)
    if twin < len(before):
        return Sifted(reason="repeats a training row" if exactly else "like a training row", twin=text)
    return Sifted(reason="repeats a new row" if exactly else "like a new row", twin=text)


def distinct(texts: Sequence[str], n: int) -> float:
    """Different n-grams of folded words over all of them, 0–1 (Li et al. 2016); falls as texts are added."""
    grams = [
        gram
        for words in (folded(text).split() for text in texts)
        for gram in zip(*(words[at:] for at in range(n)), strict=False)
    ]
    return len(set(grams)) / len(grams) if grams else 0.0
