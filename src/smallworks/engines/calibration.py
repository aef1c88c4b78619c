"""Turn raw label log-probabilities into ones that mean what they say: a temperature, a prior, a curve.

Sources: temperature scaling, Guo et al. 2017 (arXiv 1706.04599); the prior of a prompt from unlabelled
rows, Zhou et al. 2023, "Batch Calibration" (arXiv 2309.17249); one isotonic curve for all labels, which
keeps their order, Zhang et al. 2020, "Mix-n-Match" (arXiv 2003.07329). Pure; knows no engine and no bundle.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence

import numpy as np

Curve = tuple[tuple[float, float], ...]
"""(probability said, probability meant), both rising."""

LOG_RANGE = (-4.0, 4.0)
STEPS = 60
LEAST_ROWS = 200
"""Below this a curve follows the rows that it was fitted on (Niculescu-Mizil and Caruana 2005)."""
FOLDS = 5
BEYOND_LUCK = 1.645
"""Standard errors that a gain must exceed: one-sided 95 %."""
STEEPEST = 4.0
"""How many times a curve may enlarge a difference between engines."""
RISE = 1e-6
"""How much a flat piece of the curve rises, so that no two labels change places."""


def apply(
    logp: np.ndarray,
    *,
    temperature: float = 1.0,
    bias: Sequence[float] = (),
    isotonic: Curve = (),
) -> np.ndarray:
    """(log p + bias) / temperature, then the curve, each renormalised over the last axis.

    Shapes [..., labels]. The order of the labels is the temperature's.
    """
    normalised = _normalised((logp + np.asarray(bias) if len(bias) else logp) / temperature)
    if not isotonic:
        return normalised
    said, meant = np.array(isotonic).T
    p = np.exp(normalised)
    return _normalised(np.log(np.interp(p, said, meant) + RISE * p))


def _normalised(logp: np.ndarray) -> np.ndarray:
    shifted = logp - logp.max(axis=-1, keepdims=True)
    normalised: np.ndarray = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return normalised


def fit_temperature(logp: np.ndarray, targets: np.ndarray) -> float:
    """The temperature that minimises the negative log-likelihood, by golden section on its logarithm.

    `logp` [n, labels] on rows that the model was not fitted on, `targets` [n] label indices. Targets are
    smoothed by 1 / (n + 2), as Platt (1999) does, so that few rows, all right, do not claim certainty.
    """
    rows, smooth = np.arange(len(targets)), 1 / (len(targets) + 2)

    def loss(log_temperature: float) -> float:
        said = apply(logp, temperature=float(np.exp(log_temperature)))
        return -float((1 - smooth) * said[rows, targets].mean() + smooth * said.mean())

    low, high = LOG_RANGE
    ratio = (5**0.5 - 1) / 2
    left, right = high - ratio * (high - low), low + ratio * (high - low)
    f_left, f_right = loss(left), loss(right)
    for _ in range(STEPS):
        if f_left < f_right:
            high, right, f_right = right, left, f_left
            left = high - ratio * (high - low)
            f_left = loss(left)
        else:
            low, left, f_left = left, right, f_right
            right = low + ratio * (high - low)
            f_right = loss(right)
    return float(np.exp((low + high) / 2))


def fit(logp: np.ndarray, targets: np.ndarray) -> tuple[float, Curve]:
    """Temperature, and the curve after it, from log-probabilities [n, labels] and right labels [n]."""
    temperature = fit_temperature(logp, targets)
    return temperature, fit_isotonic(apply(logp, temperature=temperature), targets)


def fit_isotonic(logp: np.ndarray, targets: np.ndarray, *, seed: int = 0) -> Curve:
    """The curve for log-probabilities at temperature 1, or none where it does not help.

    `logp` [n, labels], `targets` [n]. It helps when it lowers the log loss of rows left out of its fitting,
    in five folds, beyond luck. None either below LEAST_ROWS rows, or
    without scikit-learn.
    """
    rows = len(targets)
    if rows < LEAST_ROWS or importlib.util.find_spec("sklearn") is None:
        return ()
    fold, gain = np.random.default_rng(seed).permutation(rows) % FOLDS, np.zeros(rows)
    for held in (fold == number for number in range(FOLDS)):
        before = apply(logp[held], temperature=fit_temperature(logp[~held], targets[~held]))
        after = apply(logp[held], isotonic=_curve(logp[~held], targets[~held]))
        gain[held] = (after - before)[np.arange(held.sum()), targets[held]]
    helps = gain.mean() > BEYOND_LUCK * gain.std() / rows**0.5
    return _curve(logp, targets) if helps else ()


def _curve(logp: np.ndarray, targets: np.ndarray) -> Curve:
    """Isotonic regression of "this is the label" on its probability, all labels pooled.

    A flat piece becomes one point in its middle, with straight lines between. Targets are smoothed as in
    `fit_temperature`.
    """
    from sklearn.isotonic import IsotonicRegression

    rows, labels = logp.shape
    smooth = 1 / (rows + 2)
    wanted = np.full((rows, labels), smooth / labels)
    wanted[np.arange(rows), targets] += 1 - smooth
    said = np.exp(logp).ravel()
    level, piece = np.unique(IsotonicRegression().fit_transform(said, wanted.ravel()), return_inverse=True)
    return _gentle(np.bincount(piece), np.bincount(piece, weights=said), level)


def _gentle(count: np.ndarray, said: np.ndarray, level: np.ndarray) -> Curve:
    """Points of flat pieces (how many values, their sum, their level), the steepest neighbours made one.

    A step would turn a quantised engine's small difference into another answer's probability.
    """
    meant = level * count
    while len(count) > 1:
        slope = np.diff(meant / count) / np.diff(said / count)
        at = int(slope.argmax())
        if slope[at] <= STEEPEST:
            break
        count, said, meant = (np.delete(sums, at + 1) + _only(at, sums) for sums in (count, said, meant))
    places, levels = np.minimum(1.0, said / count), meant / count
    return tuple(zip(places.tolist(), levels.tolist(), strict=True))


def _only(at: int, sums: np.ndarray) -> np.ndarray:
    """What the piece after `at` adds to the one there."""
    added = np.zeros(len(sums) - 1, dtype=sums.dtype)
    added[at] = sums[at + 1]
    return added


def prior_bias(logp: np.ndarray) -> tuple[float, ...]:
    """−log of the mean probability of each label over unlabelled rows [n, labels]: undoes a habit."""
    return tuple(float(b) for b in -np.log(np.exp(logp).mean(axis=0) + 1e-9))
