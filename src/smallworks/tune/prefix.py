"""The rows of a batch as one sequence that begins with what they share, each row blind to the others.

Rows of one task begin with the same instruction: a batch computes it once instead of once a row, without
padding. Every row keeps the positions it has alone and sees the shared beginning and itself, so that its
loss and its gradient are those it has alone. Knows no model.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

IGNORED = -100
"""The label of a token outside the loss."""


@dataclass(frozen=True, kw_only=True)
class Joined:
    """One sequence: ids, labels and positions [1, tokens], mask [1, 1, tokens, tokens] to add to scores."""

    ids: Tensor
    labels: Tensor
    positions: Tensor
    mask: Tensor


def shared(ids: Tensor, labels: Tensor) -> int:
    """How many first tokens all rows [rows, tokens] share, short of the one that predicts a first label."""
    same = (ids == ids[0]).all(0)
    supervised = (labels != IGNORED).any(0)
    differ = (~same | supervised).nonzero()
    first = int(differ[0]) if len(differ) else ids.shape[1]
    return min(first, max(0, int(supervised.nonzero()[0]) - 1)) if supervised.any() else first


def join(ids: Tensor, labels: Tensor, lengths: Tensor, prefix: int) -> Joined:
    """The rows [rows, tokens] without padding, behind their first `prefix` tokens once."""
    rows, width = ids.shape
    place = torch.arange(width, device=ids.device).expand(rows, width)
    own = (place >= prefix) & (place < lengths[:, None])
    row = torch.arange(rows, device=ids.device)[:, None].expand(rows, width)
    none = torch.full((prefix,), -1, device=ids.device)
    owner, positions = torch.cat([none, row[own]]), torch.cat([place[0, :prefix], place[own]])
    order = torch.arange(len(owner), device=ids.device)
    seen = (owner[:, None] == owner[None, :]) | (owner[None, :] < 0)
    blind = torch.zeros(len(owner), len(owner), device=ids.device)
    blind[~(seen & (order[None, :] <= order[:, None]))] = torch.finfo(blind.dtype).min
    return Joined(
        ids=torch.cat([ids[0, :prefix], ids[own]])[None],
        labels=torch.cat([labels[0, :prefix], labels[own]])[None],
        positions=positions[None],
        mask=blind[None, None],
    )


def cheaper(lengths: Tensor, prefix: int, *, hidden: int) -> bool:
    """Whether one sequence takes less work than the padded rows.

    Linear layers cost about 24 · hidden² a token, attention 4 · hidden a pair of tokens; one sequence
    computes every pair, those that are masked too.
    """
    rows, longest = len(lengths), int(lengths.max())
    tokens = prefix + int((lengths - prefix).sum())

    def work(count: int, length: int) -> float:
        return count * (6 * hidden * length + length * length)

    return work(1, tokens) < work(rows, longest)
