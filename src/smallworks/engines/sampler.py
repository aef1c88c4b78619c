"""One next token from one row of logits: greedy, or temperature with top-p, by a seed. Knows no model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from smallworks.types import Sampling

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor


class Sampler:
    """The draws of one answer. The same seed over the same logits gives the same tokens."""

    def __init__(self, sampling: Sampling) -> None:
        import torch

        self._sampling = sampling
        self._random = torch.Generator()
        if sampling.seed is None:
            self._random.seed()
        else:
            self._random.manual_seed(sampling.seed)

    def draw(self, logits: Tensor, allowed: np.ndarray | None = None) -> int:
        """A token id from `logits` [vocabulary]; those not in `allowed` [vocabulary, bool] never come."""
        import torch

        logits = logits.to("cpu", torch.float64)
        if allowed is not None:
            logits = logits.masked_fill(~torch.from_numpy(allowed), -torch.inf)
        if self._sampling.temperature <= 0:
            return int(logits.argmax())
        scaled = torch.softmax(logits / self._sampling.temperature, dim=-1)
        ordered, ids = scaled.sort(descending=True, stable=True)
        if self._sampling.top_p < 1:
            # A token stays while the mass before it is under top_p, so the first always stays.
            ordered = ordered.masked_fill(ordered.cumsum(0) - ordered >= self._sampling.top_p, 0.0)
        return int(ids[torch.multinomial(ordered, 1, generator=self._random)])
