"""The order of the rows in each epoch: fixed by the seed alone, rows of like length side by side.

Padding is wasted work on a CPU; windows of a few batches sorted by length leave little of it and keep
the batches mixed. Knows no torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random

WINDOW = 8
"""Batches whose rows are sorted by length together."""


class Order:
    """Row indices, batch after batch. `set_epoch` chooses the epoch, also for a loader that resumes.

    With `blank`, a row that teaches nothing, the last batch is filled up by it: several processes share every
    batch evenly.
    """

    def __init__(
        self, lengths: Sequence[int], *, batch_size: int, seed: int, blank: int | None = None
    ) -> None:
        self._lengths = lengths
        self._batch_size = batch_size
        self._seed = seed
        self._blanks = [] if blank is None else [blank] * (-len(lengths) % batch_size)
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self._epoch = epoch

    def __len__(self) -> int:
        return len(self._lengths) + len(self._blanks)

    def __iter__(self) -> Iterator[int]:
        random = Random(f"{self._seed}:{self._epoch}")
        rows = list(range(len(self._lengths)))
        random.shuffle(rows)
        window = WINDOW * self._batch_size
        batches: list[list[int]] = []
        for start in range(0, len(rows), window):
            near = sorted(rows[start : start + window], key=lambda row: self._lengths[row])
            batches += [near[at : at + self._batch_size] for at in range(0, len(near), self._batch_size)]
        # Only the last batch may be short: the data loader cuts the stream into full ones.
        short = [batch for batch in batches if len(batch) < self._batch_size]
        full = [batch for batch in batches if len(batch) == self._batch_size]
        random.shuffle(full)
        for batch in full + short:
            yield from batch
        yield from self._blanks
