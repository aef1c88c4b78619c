"""What every engine over logits shares: answers, scores, counts and an end. An engine gives two things more.

`_begin` starts one answer's text and returns its `Read`; a `Scorer` gives logits after many prompts at once.
Requests interleave: the lock is held for one forward pass, or one scoring, at a time. Knows no library.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from threading import Event, Lock
from typing import Any

import numpy as np

from smallworks.engines.linear import log_softmax
from smallworks.engines.scoring import Scorer
from smallworks.engines.steps import Read, Words
from smallworks.errors import ModelError, RequestError
from smallworks.prompt.tokenizer import TextTokenizer
from smallworks.seams import Ability
from smallworks.types import Choices, Chunk, Completion, Prompt, Sampling


class LogitsModel(ABC):
    """Implements seams.Model over a library's `model` of the weights in `folder`, and a `scorer` over it."""

    abilities: frozenset[Ability] = frozenset({"logprobs", "logit_bias"})

    def __init__(
        self, folder: Path, model: Any, scorer: Scorer, tokenizer: TextTokenizer, context: int
    ) -> None:
        self.context = context
        self._folder = folder
        self._model = model
        self._scorer: Any = scorer  # None once closed, as the model is
        self._words = Words(tokenizer, context)
        self._lock = Lock()

    @abstractmethod
    def _begin(self) -> Read:
        """The beginning of one answer: what it has read is its own."""

    def generate(self, prompt: Prompt, sampling: Sampling, *, cancel: Event | None = None) -> Completion:
        *_, last = self.stream(prompt, sampling, cancel=cancel)
        assert last.completion is not None
        return last.completion

    def stream(self, prompt: Prompt, sampling: Sampling, *, cancel: Event | None = None) -> Iterator[Chunk]:
        return self._words.answer(prompt, sampling, self._begin, cancel or Event())

    def score(self, prompts: Sequence[Prompt], choices: Choices) -> np.ndarray:
        if len(choices.ids) != len(choices.labels):
            raise RequestError(
                f"{len(choices.labels)} labels have {len(choices.ids)} token ids; this engine scores tokens.",
                fix="Give the label codes with the ids of this model's tokenizer.",
            )
        out = np.zeros((len(prompts), len(choices.labels)))
        rows = [self._words.ids(prompt) for prompt in prompts]
        if not rows:
            return out
        with self._lock:
            self._alive()
            self._scorer.prepare(rows)
            for batch in self._scorer.batches(rows):
                out[batch] = log_softmax(self._scorer.logits([rows[at] for at in batch], choices.ids))
        return out

    def count(self, text: str) -> int:
        return len(self._words.tokenizer.encode(text))

    def close(self) -> None:
        with self._lock:
            self._model = self._scorer = None

    def _alive(self) -> Any:
        if self._model is None:
            raise ModelError(f"The engine over '{self._folder}' is closed.", fix="Load the model again.")
        return self._model
