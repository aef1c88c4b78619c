"""How sure a written answer looks: by the probabilities of its tokens, or by agreeing with another model's.

Each signal is 0–1; a curve that was fitted on held-out rows turns it into a probability. Knows answers; knows
nothing of stages or thresholds.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from smallworks import files
from smallworks.bundle.manifest import Sureness
from smallworks.seams import Able
from smallworks.text.folding import fold
from smallworks.types import Answer, Sampling, Token

if TYPE_CHECKING:
    from smallworks.engines.predictor import Inputs, Predictor

TOP = 2
"""Most probable tokens that are asked for in each place: the margin lies between these."""
ALMOST = 0.99
"""The most that two answers agree which are not the same."""


def asked(predictor: Predictor) -> Sampling | None:
    """The bundle's own sampling with log-probabilities; None for labels, and where its engine gives none."""
    able = isinstance(predictor.model, Able) and "logprobs" in predictor.model.abilities
    if predictor.choices is not None or not able:
        return None
    return replace(predictor.manifest.sampling, logprobs=TOP)


def answers(predictor: Predictor, batch: Sequence[Inputs]) -> list[Answer]:
    """As `Predictor.answers`, with log-probabilities of what is written wherever there are any."""
    sampling = asked(predictor)
    if sampling is None:
        return predictor.answers(batch)
    return [predictor.answer(inputs, sampling) for inputs in batch]


def signals(tokens: Sequence[Token]) -> Mapping[str, float] | None:
    """What the tokens of an answer tell; None where log-probabilities were not told.

    `likelihood` is the geometric mean of the tokens' probabilities, `weakest` the least of them, `margin` the
    mean lead of the most probable token over the second.
    """
    if not tokens:
        return None
    drawn = [token.logprob for token in tokens]
    found = {
        "likelihood": math.exp(sum(drawn) / len(drawn)),
        "weakest": math.exp(min(drawn)),
        "margin": sum(_lead(token) for token in tokens) / len(tokens),
    }
    return {name: min(1.0, max(0.0, value)) for name, value in found.items()}


def agreement(one: str, other: str) -> float:
    """1 for the same JSON, else for the same words in their order; else F1 of the words that both have.

    That is `ALMOST` at most: who did what to whom, and in which field a value stands, its words do not tell.
    """
    if one == other:
        return 1.0
    a, b = (fold(text).split() for text in (one, other))
    shared = (Counter(a) & Counter(b)).total()
    documents = _json(one), _json(other)
    same = documents[0] == documents[1] if all(documents) else bool(shared) and a == b
    return 1.0 if same else min(ALMOST, 2 * shared / (len(a) + len(b))) if shared else 0.0


def confidence(how: Sureness, found: Mapping[str, float] | None, text: str, before: str | None) -> float:
    """How likely the answer is good enough, from its signals or from the answer of the stage before.

    −1, below every threshold, where the signal is `none` or was not told.
    """
    if how.signal == "agreement":
        value = None if before is None else agreement(text, before)
    else:
        value = (found or {}).get(how.signal)
    return -1.0 if value is None else float(bent(how.curve, np.array(value)))


def bent(curve: Sequence[tuple[float, float]], values: np.ndarray) -> np.ndarray:
    """Signals along a curve of points (signal, probability); as they are where there is none."""
    if not curve:
        return values
    said, meant = np.array(curve).T
    return np.asarray(np.interp(values, said, meant))


def _lead(token: Token) -> float:
    ranked = sorted((math.exp(other.logprob) for other in token.top), reverse=True)[:TOP]
    return ranked[0] - ranked[1] if len(ranked) == TOP else math.exp(token.logprob)


def _json(text: str) -> bytes | None:
    """The same bytes for the same document; None where it is none that can be read and written again."""
    try:
        return files.canonical(json.loads(text))
    except (ValueError, RecursionError):
        return None
