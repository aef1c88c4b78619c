"""The joints on one page: what an engine, an embedder, a metric and a progress display must be.

Protocols only; knows no implementation. A stranger's package joins through the same entry points
(`smallworks.engines`) as the built-ins.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from threading import Event
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

from smallworks.types import Answer, Choices, Chunk, Completion, Prompt, Sampling

if TYPE_CHECKING:
    import numpy as np

Ability = Literal["logprobs", "logit_bias"]
"""Fields of Sampling that an engine may be unable to honour."""


@runtime_checkable
class Model(Protocol):
    """Weights that answer finished prompts. Never sees messages to template by itself.

    Every method may be called from several threads; an engine that cannot run two at once queues.
    """

    engine: str
    """The name of the engine, e.g. 'llamacpp'."""
    context: int
    """Most tokens of prompt and answer together; 0 where the engine has no tokens."""

    def generate(self, prompt: Prompt, sampling: Sampling, *, cancel: Event | None = None) -> Completion:
        """The whole answer. Ends at a stop string, a stop id, `max_tokens`, or when `cancel` is set."""
        ...

    def stream(self, prompt: Prompt, sampling: Sampling, *, cancel: Event | None = None) -> Iterator[Chunk]:
        """The answer piece by piece; closing the iterator frees the engine at once."""
        ...

    def score(self, prompts: Sequence[Prompt], choices: Choices) -> np.ndarray:
        """Log-probabilities of the choices after each prompt, renormalised over the choices.

        Shape [len(prompts), len(choices.labels)], float64, rows log-sum-exp to 0.
        """
        ...

    def count(self, text: str) -> int:
        """Tokens that `text` takes (an estimate for remote engines, 0 for engines without tokens)."""
        ...

    def close(self) -> None:
        """Free memory, threads and ports. Idempotent."""
        ...


@runtime_checkable
class Able(Protocol):
    """A model that can do what not every engine can; one that says nothing of it can do none of it."""

    abilities: frozenset[Ability]


@runtime_checkable
class Metered(Protocol):
    """A model that is paid by the token."""

    def spent(self) -> tuple[int, int, int]:
        """Requests, tokens in and tokens out since it was opened, as its server counts them."""
        ...


@runtime_checkable
class Labeller(Protocol):
    """A model made of several, each with a prompt and a calibration of its own: it labels texts itself."""

    def label(self, texts: Sequence[str]) -> list[Answer]:
        """One answer a text, with probabilities that are calibrated already."""
        ...


@runtime_checkable
class Writer(Protocol):
    """A model made of several, each with a prompt of its own, that writes: the answer comes in one piece."""

    writes: bool
    """Whether it does; one that labels does not."""

    def write(self, text: str, sampling: Sampling | None, *, cancel: Event | None = None) -> Answer:
        """The answer to a text, with who gave it. Without `sampling` each part draws as it was made to."""
        ...


@runtime_checkable
class Unscaled(Protocol):
    """A model whose scores have a size of their own, before they are made to sum to one."""

    def logits(self, prompts: Sequence[Prompt], choices: Choices) -> np.ndarray:
        """What `score` is the log-softmax of, [len(prompts), len(choices.labels)], float64."""
        ...


class Embedder(Protocol):
    dimension: int

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """Unit vectors, shape [len(texts), dimension], float32."""
        ...


class Reranker(Protocol):
    def scores(self, question: str, passages: Sequence[str]) -> np.ndarray:
        """How well each passage answers, higher for better: shape [len(passages)], of no known scale."""
        ...


class Tokenizer(Protocol):
    """Text to token ids and back, exactly as the model was trained."""

    size: int

    def encode(self, text: str) -> list[int]:
        """Ids of a *rendered* prompt: special tokens in the text are parsed, none are added."""
        ...

    def decode(self, ids: Sequence[int]) -> str:
        """Text of the ids, special tokens left out."""
        ...


Progress = Callable[[str, float, float, str], None]
"""`progress(step, done, total, note)`; total 0 means unknown."""


def silent(step: str, done: float, total: float, note: str) -> None:
    """The progress display that shows nothing."""
