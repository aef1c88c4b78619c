"""Next-token logits after many prompts that share their beginning: the shared part is computed once.

Classification prompts share instruction, labels and examples; only the row itself differs. The keys
and values of the shared prefix are kept between calls, so a served request pays for its own tokens
alone. Knows nothing of labels, texts or tokenizers.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

Ids = Sequence[int]

BATCH_TOKENS = 4096
"""Most tokens of a padded batch, the shared prefix not counted."""
CACHE_TOKENS = 32768
"""Most tokens whose keys and values a batch holds, the prefix counted for each row."""
WORTH = 16
"""A prefix is recomputed only for this many tokens more than the kept one has."""


class Scorer(ABC):
    """Owns a model's kept prefix. Not for two threads at once: the engine holds its lock."""

    def __init__(self) -> None:
        self._prefix: tuple[int, ...] = ()
        self._cache: Any = None
        self._last: tuple[int, ...] = ()

    def prepare(self, rows: Sequence[Ids]) -> int:
        """Compute or reuse the prefix that `rows` share; returns its length in tokens.

        One row alone is compared with the last one seen, as requests come one by one when served.
        """
        shared = self._shared(rows)
        kept = len(self._prefix)
        if kept and _starts(rows, self._prefix) and kept + WORTH > shared:
            return kept
        # Nothing is kept until the new prefix is computed: a prefill may fail for want of memory.
        self._prefix, self._cache = (), None
        if shared >= WORTH:
            prefix = tuple(rows[0][:shared])
            self._cache = self.prefill(prefix)
            self._prefix = prefix
        return len(self._prefix)

    def batches(self, rows: Sequence[Ids]) -> Iterator[list[int]]:
        """Indices of `rows` in batches of similar length, bounded by tokens."""
        prefix = len(self._prefix)
        batch: list[int] = []
        for index in sorted(range(len(rows)), key=lambda i: len(rows[i])):
            length, many = len(rows[index]), len(batch) + 1
            if batch and (many * (length - prefix) > BATCH_TOKENS or many * length > CACHE_TOKENS):
                yield batch
                batch = []
            batch.append(index)
        if batch:
            yield batch

    @abstractmethod
    def prefill(self, ids: Ids) -> Any:
        """The keys and values of `ids`, as `logits` takes them up."""

    @abstractmethod
    def logits(self, rows: Sequence[Ids], tokens: Ids) -> np.ndarray:
        """Float64 logits [len(rows), len(tokens)] of `tokens` after each row; all start with the prefix."""

    def _shared(self, rows: Sequence[Ids]) -> int:
        """Tokens that all rows begin with, at least one left for each row to end on."""
        compared = [*rows, self._last] if len(rows) == 1 and self._last else list(rows)
        self._last = tuple(rows[-1])
        if len(compared) == 1:
            return 0
        return min(_common(compared), min(len(row) for row in rows) - 1)


class TorchScorer(Scorer):
    """Over a causal LM of transformers."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self._model = model

    def prefill(self, ids: Ids) -> Any:
        import torch
        from transformers import DynamicCache

        cache = DynamicCache(config=self._model.config)
        with torch.inference_mode():
            self._model(
                input_ids=torch.tensor([list(ids)], device=self._model.device),
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=1,
            )
        return cache

    def logits(self, rows: Sequence[Ids], tokens: Ids) -> np.ndarray:
        import torch

        prefix = len(self._prefix)
        rests = [torch.tensor(row[prefix:]) for row in rows]
        # Padding on the right: under causal attention no real token sees it, so no mask is needed.
        padded = torch.nn.utils.rnn.pad_sequence(rests, batch_first=True).to(self._model.device)
        last = torch.tensor([len(rest) - 1 for rest in rests], device=self._model.device)
        cache = copy.deepcopy(self._cache)
        if cache is not None and len(rows) > 1:
            cache.batch_repeat_interleave(len(rows))

        def only_last(_: Any, hidden: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            return (hidden[0][torch.arange(len(rows), device=last.device), last].unsqueeze(1), *hidden[1:])

        # The vocabulary is projected for one position a row, before whatever scaling the model adds.
        hook = self._model.get_output_embeddings().register_forward_pre_hook(only_last)
        try:
            with torch.inference_mode():
                out = self._model(input_ids=padded, past_key_values=cache, use_cache=cache is not None)
        finally:
            hook.remove()
        logits: np.ndarray = out.logits[:, -1][:, list(tokens)].to("cpu", torch.float64).numpy()
        return logits


def _starts(rows: Sequence[Ids], prefix: tuple[int, ...]) -> bool:
    return all(len(row) > len(prefix) and tuple(row[: len(prefix)]) == prefix for row in rows)


def _common(rows: Sequence[Ids]) -> int:
    """Tokens that all rows begin with."""
    columns = zip(*rows, strict=False)
    return next((at for at, column in enumerate(columns) if len(set(column)) > 1), min(map(len, rows)))
