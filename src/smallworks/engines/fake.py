"""The engine without weights: scripted or echoed answers, the same every time, in microseconds.

For tests of whatever stands above an engine, ours and a stranger's, and for measuring a server's own
overhead. Its tokens are the bytes of UTF-8. Knows nothing of language.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Mapping, Sequence
from threading import Event

import numpy as np

from smallworks.errors import ModelError, RequestError
from smallworks.types import Choices, Chunk, Completion, Finish, Prompt, Sampling

SHARPNESS = 8.0
"""Range of the made-up scores, in nats."""


class Fake:
    """Implements seams.Model. `answers` maps a prompt's text to its answer; any other prompt is echoed.

    At a temperature the answer's words come in an order drawn by the seed. `scores` maps a prompt's text
    to the probability of each label; any other prompt is scored by its hash. `pace` is seconds a token.
    """

    engine = "fake"

    def __init__(
        self,
        answers: Mapping[str, str] | None = None,
        *,
        scores: Mapping[str, Mapping[str, float]] | None = None,
        context: int = 65536,
        pace: float = 0.0,
    ) -> None:
        self.context = context
        self._answers = answers or {}
        self._scores = scores or {}
        self._pace = pace
        self._closed = False

    def generate(self, prompt: Prompt, sampling: Sampling, *, cancel: Event | None = None) -> Completion:
        done = self._complete(prompt, sampling)
        if not self._pace and (cancel is None or not cancel.is_set()):
            return done
        *_, last = self._chunks(done, cancel or Event())
        assert last.completion is not None
        return last.completion

    def stream(self, prompt: Prompt, sampling: Sampling, *, cancel: Event | None = None) -> Iterator[Chunk]:
        return self._chunks(self._complete(prompt, sampling), cancel or Event())

    def score(self, prompts: Sequence[Prompt], choices: Choices) -> np.ndarray:
        self._alive()
        rows = [self._logits(prompt.text, choices.labels) for prompt in prompts]
        logits = np.array(rows, dtype=np.float64).reshape(len(prompts), len(choices.labels))
        top = logits.max(axis=1, keepdims=True, initial=-np.inf)
        result: np.ndarray = logits - top - np.log(np.exp(logits - top).sum(axis=1, keepdims=True))
        return result

    def count(self, text: str) -> int:
        return len(text.encode())

    def close(self) -> None:
        self._closed = True

    def _alive(self) -> None:
        if self._closed:
            raise ModelError("The fake engine is closed.", fix="Make a new one.")

    def _complete(self, prompt: Prompt, sampling: Sampling) -> Completion:
        """The whole answer at once; a stream only hands it out slowly."""
        self._alive()
        tokens_in = len(prompt.ids) or len(prompt.text.encode())
        if tokens_in >= self.context:
            raise RequestError(
                f"The prompt takes {tokens_in} tokens; the model's context is {self.context}.",
                fix="Shorten the input.",
            )
        if sampling.schema is not None:
            raise RequestError("The fake engine writes no JSON by a schema.", fix="Leave out the schema.")
        whole = self._answers.get(prompt.text, prompt.text)
        if sampling.temperature > 0:
            words = whole.split(" ")
            random.Random(sampling.seed).shuffle(words)
            whole = " ".join(words)
        text, taken, finish = _cut(whole, sampling, room=self.context - tokens_in)
        return Completion(
            text=text, finish=finish, tokens_in=tokens_in, tokens_out=len(taken), ids=tuple(taken)
        )

    def _chunks(self, done: Completion, cancel: Event) -> Iterator[Chunk]:
        out = 0
        for shown, character in enumerate(done.text):
            size = len(character.encode())
            if cancel.wait(self._pace * size) if self._pace else cancel.is_set():
                yield Chunk(text="", completion=_cancelled(done, shown, out))
                return
            out += size
            yield Chunk(text=character)
        yield Chunk(text="", completion=done)

    def _logits(self, text: str, labels: Sequence[str]) -> Sequence[float] | np.ndarray:
        given = self._scores.get(text)
        if given is not None:
            return [float(np.log(max(given.get(label, 0.0), 1e-45))) for label in labels]
        digest = hashlib.shake_128("\0".join((text, *labels)).encode()).digest(4 * len(labels))
        return np.frombuffer(digest, "<u4") * (SHARPNESS / 2**32)


def _cut(whole: str, sampling: Sampling, *, room: int) -> tuple[str, bytes, Finish]:
    """The text that is shown, the bytes that were generated for it, and why they ended."""
    raw = whole.encode()
    limit = min(sampling.max_tokens, room)
    finish: Finish = "stop" if len(raw) < limit else "length"
    raw = raw[:limit]
    end = (
        next((at for at, byte in enumerate(raw) if byte in sampling.stop_ids), None)
        if sampling.stop_ids
        else None
    )
    if end is not None:
        raw, finish = raw[:end], "stop"
    stops = [stop.encode() for stop in sampling.stop if stop]
    met = [(at, len(stop)) for stop in stops if (at := raw.find(stop)) >= 0]
    if met:
        at, size = min(met)
        return raw[:at].decode("utf-8", "replace"), raw[: at + size], "stop"
    return raw.decode("utf-8", "replace"), raw, finish


def _cancelled(done: Completion, shown: int, out: int) -> Completion:
    return Completion(
        text=done.text[:shown],
        finish="cancelled",
        tokens_in=done.tokens_in,
        tokens_out=out,
        ids=done.ids[:out],
    )
