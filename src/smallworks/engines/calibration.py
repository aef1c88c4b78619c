"""Turn raw label log-probabilities into ones that mean what they say: a temperature and a prior.

Sources: temperature scaling, Guo et al. 2017 (arXiv 1706.04599); the prior of a prompt from unlabelled
rows, Zhou et al. 2023, "Batch Calibration" (arXiv 2309.17249). Pure; knows no engine and no bundle.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

LOG_RANGE = (-4.0, 4.0)
STEPS = 60


def apply(logp: np.ndarray, *, temperature: float = 1.0, bias: Sequence[float] = ()) -> np.ndarray:
    """(log p + bias) / temperature, renormalised over the last axis. Shapes [..., labels]."""
    shifted = (logp + np.asarray(bias) if len(bias) else logp) / temperature
    shifted = shifted - shifted.max(axis=-1, keepdims=True)
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


def prior_bias(logp: np.ndarray) -> tuple[float, ...]:
    """−log of the mean probability of each label over unlabelled rows [n, labels]: undoes a habit."""
    return tuple(float(b) for b in -np.log(np.exp(logp).mean(axis=0) + 1e-9))
