"""One next token from one row of logits: greedy, or temperature with top-p, by a seed. Knows no model."""

from __future__ import annotations

import numpy as np

from smallworks.types import Sampling


class Sampler:
    """The draws of one answer. The same seed over the same logits gives the same tokens."""

    def __init__(self, sampling: Sampling) -> None:
        self._sampling = sampling
        self._random = np.random.default_rng(None if sampling.seed is None else sampling.seed % 2**64)

    def draw(self, logits: np.ndarray, allowed: np.ndarray | None = None) -> int:
        """A token id from `logits` [vocabulary]; those not in `allowed` [vocabulary, bool] never come."""
        logits = logits.astype(np.float64)
        for id, bias in self._sampling.logit_bias:
            logits[id] += bias
        if allowed is not None:
            logits[~allowed] = -np.inf
        if self._sampling.temperature <= 0:
            return int(logits.argmax())
        scaled = np.exp((logits - logits.max()) / self._sampling.temperature)
        if self._sampling.top_p >= 1:
            return self._pick(scaled)
        order = np.argsort(-scaled, kind="stable")
        ordered = scaled[order] / scaled.sum()
        # A token stays while the mass before it is under top_p; the first stays even where that is 0.
        before = ordered.cumsum() - ordered
        ordered[1:][before[1:] >= self._sampling.top_p] = 0.0
        return int(order[self._pick(ordered)])

    def _pick(self, weights: np.ndarray) -> int:
        """An index, with a chance in proportion to its weight; never one of weight zero."""
        heaped = weights.cumsum()
        at = np.searchsorted(heaped, self._random.random() * heaped[-1], side="right")
        return int(min(at, np.flatnonzero(weights)[-1]))
