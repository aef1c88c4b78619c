"""The processes that tune one candidate together: which one writes, and what all of them agree on.

They meet in a file, so that no port is open for strangers. accelerate, on which the Trainer stands, takes the
group as it is (gloo, or NCCL on GPUs) and shares gradients; alone, every function here is that of a single
process.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import distributed

from smallworks import settings
from smallworks.errors import ModelError


def begin(count: int, meeting: str | None) -> None:
    """Join the others at the file `meeting`, new for this run, with a GPU each where there are any.

    None: this one is alone. Raises ModelError for more processes than GPUs.
    """
    if meeting is None:
        return
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else None
    if gpus is not None and gpus < count:
        raise ModelError(
            f"{count} processes want a GPU each; {gpus} can be seen.", fix=f"Try --processes {gpus}."
        )
    if gpus:
        torch.cuda.set_device(settings.rank())
    store = distributed.FileStore(meeting, count)
    backend = "nccl" if gpus else "gloo"
    distributed.init_process_group(backend, store=store, rank=settings.rank(), world_size=count)


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
