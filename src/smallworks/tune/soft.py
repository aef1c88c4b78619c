"""Learning a label from what a teacher holds of all labels, not from the likeliest one alone.

The divergence from the teacher's shares takes the place of the cross-entropy at the label's token. Where the
shares are 1 and 0 the two are the same, so that rows with and without shares go well together. Knows ids,
logits and shares; no trainer, no model.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

SHARES = "shares"
"""The column of a data set, and the part of a batch, that holds them."""


class Collator(DataCollatorForLanguageModeling):  # type: ignore[misc]
    """TRL's batches; where the data set has shares, with them too: [rows, labels], NaN in a row without."""

    def torch_call(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        batch: dict[str, Any] = super().torch_call(examples)
        given = [example.get(SHARES) or () for example in examples]
        if width := max(map(len, given)):
            none = [float("nan")] * width
            batch[SHARES] = torch.tensor([list(shares) or none for shares in given])
        return batch


def loss(logits: Tensor, targets: Tensor, begins: Tensor, shares: Tensor, codes: Sequence[int]) -> Tensor:
    """Nats of all supervised tokens together.

    `logits` [tokens, vocabulary] and `targets` [tokens] are those of the supervised tokens; `begins` [tokens]
    tells the first of each row, `shares` [rows, codes] what is to be said there. Other tokens have no share:
    that a code is said at all is learned too.
    """
    taught = ~shares.isnan().any(1)
    soft = begins.nonzero()[:, 0][taught]
    hard = torch.ones_like(begins)
    hard[soft] = False
    told = torch.nn.functional.cross_entropy(logits[hard], targets[hard], reduction="sum")
    said = logits[soft].log_softmax(-1)[:, list(codes)]
    return told + torch.nn.functional.kl_div(said, shares[taught], reduction="sum")
