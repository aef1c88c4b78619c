"""The retrieval engine: a question answered from an index, by its best passage or by a bundle that reads it.

The index is a file inside of the bundle, so that the answer is the same wherever the bundle is. Knows what
`ground` makes of a question; knows nothing of how the index, `k` or the threshold were chosen.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from threading import Event, Lock

import numpy as np

from smallworks import rag
from smallworks.bundle.manifest import Retrieval
from smallworks.engines.ground import Grounded, ground
from smallworks.engines.predictor import Predictor
from smallworks.errors import RequestError
from smallworks.seams import Embedder, Metered, Reranker
from smallworks.types import Choices, Chunk, Completion, Prompt, Sampling, Source

PATIENCE_SECONDS = 0.1
"""How often a question that waits for the index looks whether it is still wanted."""


class Retriever:
    """Implements seams.Model. An index is one thread's at a time; while a reader writes it is the others'."""

    engine = "retrieval"
    context = 0

    def __init__(
        self,
        index: Path,
        how: Retrieval,
        reader: Predictor | None = None,
        embedder: Embedder | None = None,
        reranker: Reranker | None = None,
    ) -> None:
        self.index = rag.Index(index, embedder, reranker, frozen=True)
        self.how = how
        self.reader = reader
        self._lock = Lock()

    def ask(
        self,
        question: str,
        sampling: Sampling | None = None,
        *,
        k: int | None = None,
        where: Mapping[str, str] | None = None,
        threshold: float | None = None,
        cancel: Event | None = None,
    ) -> Grounded:
        """The answer with all that it rests on; what is given stands in for what was frozen.

        Raises CancelledError where nobody wants it any more before the index was free.
        """
        return ground(
            self.index,
            question,
            self.reader,
            k=self.how.k if k is None else k,
            where=where,
            threshold=threshold,
            by=self.how.by,
            refusal=self.how.refusal,
            sampling=sampling,
            cancel=cancel,
            alone=partial(self._alone, cancel),
        )

    def generate(self, prompt: Prompt, sampling: Sampling, *, cancel: Event | None = None) -> Completion:
        """The answer or the refusal, and every passage that was found."""
        if not prompt.text.strip():
            raise RequestError("The question '' is empty.", fix="Ask something.")
        try:
            found = self.ask(prompt.text, sampling, cancel=cancel)
        except CancelledError:
            return Completion(text="", finish="cancelled", tokens_in=0, tokens_out=0)
        if found.finish == "cancelled":
            return Completion(text="", finish="cancelled", tokens_in=found.tokens_in, tokens_out=0)
        return Completion(
            text=self.text_of(found),
            finish="stop" if found.declined else found.finish,
            tokens_in=found.tokens_in,
            tokens_out=found.tokens_out,
            sources=sources_of(found),
        )

    def stream(self, prompt: Prompt, sampling: Sampling, *, cancel: Event | None = None) -> Iterator[Chunk]:
        """In one piece: what is not checked against the passages yet is not said."""
        whole = self.generate(prompt, sampling, cancel=cancel)
        yield Chunk(text=whole.text, completion=whole)

    def score(self, prompts: Sequence[Prompt], choices: Choices) -> np.ndarray:
        raise RequestError("A bundle that answers from documents gives no labels.", fix="Ask for its answer.")

    def count(self, text: str) -> int:
        """The most that a question can come to: passages fill what its reader takes."""
        return (self.reader.model.context or self.reader.model.count(text)) if self.reader else 0

    def close(self) -> None:
        self.index.close()
        if self.reader:
            self.reader.close()

    @contextmanager
    def _alone(self, cancel: Event | None) -> Iterator[None]:
        """The index for this thread; waiting for it ends when `cancel` is set."""
        while not self._lock.acquire(timeout=PATIENCE_SECONDS):
            if cancel is not None and cancel.is_set():
                raise CancelledError
        try:
            yield
        finally:
            self._lock.release()

    def text_of(self, found: Grounded) -> str:
        """What is said of it: without a reader that may be one sentence of the passage."""
        one_sentence = self.reader is None and self.how.shows == "sentence" and not found.declined
        return found.sentences[0].text if one_sentence else found.answer


class PaidRetriever(Retriever):
    """One whose reader is paid by the token. Implements seams.Metered."""

    def spent(self) -> tuple[int, int, int]:
        assert self.reader is not None and isinstance(self.reader.model, Metered)
        return self.reader.model.spent()


def retriever(
    index: Path,
    how: Retrieval,
    reader: Predictor | None = None,
    embedder: Embedder | None = None,
    reranker: Reranker | None = None,
) -> Retriever:
    paid = reader is not None and isinstance(reader.model, Metered)
    return (PaidRetriever if paid else Retriever)(index, how, reader, embedder, reranker)


def sources_of(found: Grounded) -> tuple[Source, ...]:
    """The passages in the order in which they were found; the first are those that were read."""
    cited = {number for sentence in found.sentences for number in sentence.cites}
    return tuple(
        Source(
            document=hit.passage.document,
            path=hit.passage.path,
            text=hit.passage.text,
            cited=number in cited,
        )
        for number, hit in enumerate(found.hits, 1)
    )
