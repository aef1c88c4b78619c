"""The processes that tune one candidate together: which one writes, and what all of them agree on.

accelerate, on which the Trainer stands, joins them (gloo, or NCCL on GPUs) and shares gradients; alone, every
function here is that of a single process.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import distributed

from smallworks import settings
from smallworks.errors import ModelError


def begin(count: int) -> None:
    """Take this process's GPU, where there are any. Raises ModelError for more processes than GPUs."""
    if count == 1 or not torch.cuda.is_available():
        return
    if (here := torch.cuda.device_count()) < count:
        raise ModelError(
            f"{count} processes want a GPU each; {here} can be seen.", fix=f"Try --processes {here}."
        )
    torch.cuda.set_device(settings.rank())


def first() -> bool:
    """Whether this is the one that writes and tells."""
    return settings.rank() == 0


def total(numbers: Sequence[float], device: Any) -> list[float]:
    """Each number summed over all processes, the same in all of them."""
    if not distributed.is_initialized():
        return list(numbers)
    summed = torch.tensor(numbers, dtype=torch.float64, device=device)
    distributed.all_reduce(summed)
    return [float(number) for number in summed]


def wait() -> None:
    """Until all have come here."""
    if distributed.is_initialized():
        distributed.barrier()


def leave() -> None:
    if distributed.is_initialized():
        distributed.destroy_process_group()
