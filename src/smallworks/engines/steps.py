"""One answer, token by token: read, draw, stop, and let out text. What every engine over logits shares.

Knows no library: an engine gives `read`, which reads more tokens and returns the logits after the last.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from threading import Event

import numpy as np

from smallworks.engines.linear import log_softmax
from smallworks.engines.sampler import Sampler
from smallworks.engines.schema import Constraint, Grammars
from smallworks.engines.stops import StopScanner
from smallworks.errors import RequestError
from smallworks.prompt.detokenizer import Detokenizer
from smallworks.prompt.tokenizer import TextTokenizer
from smallworks.types import Chunk, Completion, Finish, Prompt, Sampling, Token

CHUNK = 512
"""Prompt tokens computed between two looks at `cancel`."""
Read = Callable[[Sequence[int]], np.ndarray]
"""More tokens of one answer's text → logits [vocabulary] after the last of them."""


class Words:
    """What one engine knows of text: a tokenizer, its grammars, and how many tokens there is room for."""

    def __init__(self, tokenizer: TextTokenizer, context: int) -> None:
        self.tokenizer = tokenizer
        self.context = context
        self._grammars = Grammars(tokenizer)

    def ids(self, prompt: Prompt) -> tuple[int, ...]:
        """Raises RequestError for a prompt that is empty or does not fit."""
        ids = prompt.ids or tuple(self.tokenizer.encode(prompt.text))
        if not ids:
            raise RequestError("The prompt is empty.", fix="Give at least one token.")
        if len(ids) >= self.context:
            raise RequestError(
                f"The prompt takes {len(ids)} tokens; the model's context is {self.context}.",
                fix="Shorten the input, or choose a base with a longer context.",
            )
        return ids

    def answer(
        self, prompt: Prompt, sampling: Sampling, start: Callable[[], Read], cancel: Event
    ) -> Iterator[Chunk]:
        """The chunks of one answer; `start` makes its `read`. The prompt is checked before the first."""
        ids = self.ids(prompt)
        # A model's own end of text always ends an answer, as in every other engine.
        ends = tuple(dict.fromkeys((*sampling.stop_ids, *self.tokenizer.eos_ids)))
        sampling = replace(sampling, stop_ids=ends)
        constraint = self._grammars.start(sampling.schema, ends) if sampling.schema is not None else None
        told = None if sampling.logprobs is None else Teller(self.tokenizer, sampling.logprobs)
        steps = _Steps(ids, sampling, self.context - len(ids), constraint, start, cancel, told)
        return _chunks(steps, ids, sampling, Detokenizer(self.tokenizer))


class Teller:
    """What is told of each drawn token, by the model's own distribution."""

    def __init__(self, tokenizer: TextTokenizer, top: int) -> None:
        self._tokenizer, self._top = tokenizer, top

    def of(self, logits: np.ndarray, token: int) -> Token:
        logp = log_softmax(logits.astype(np.float64)[None])[0]
        first = np.argsort(-logp, kind="stable")[: self._top]
        top = tuple(self._token(int(id), logp) for id in first)
        return replace(self._token(token, logp), top=top)

    def _token(self, id: int, logp: np.ndarray) -> Token:
        text = self._tokenizer.decode([id])
        split = "\N{REPLACEMENT CHARACTER}" in text
        return Token(text=text, logprob=float(logp[id]), raw=None if split else text.encode())


class _Steps:
    """The tokens of one answer, one at a time; `finish` says why they ended."""

    def __init__(
        self,
        ids: tuple[int, ...],
        sampling: Sampling,
        room: int,
        constraint: Constraint | None,
        start: Callable[[], Read],
        cancel: Event,
        teller: Teller | None,
    ) -> None:
        self._ids = ids
        self._teller = teller
        self.tokens: list[Token] = []
        self._sampling = sampling
        self._room = room
        self._constraint = constraint
        self._start = start
        self._cancel = cancel
        self.finish: Finish = "length"

    def __iter__(self) -> Iterator[int]:
        sampler, read = Sampler(self._sampling), self._start()
        todo = list(self._ids)
        for _ in range(min(self._sampling.max_tokens, self._room)):
            logits = self._advance(todo, read)
            if logits is None:
                self.finish = "cancelled"
                return
            allowed = self._constraint.allowed(len(logits)) if self._constraint else None
            token = sampler.draw(logits, allowed)
            if token in self._sampling.stop_ids:
                self.finish = "stop"
                return
            if self._constraint:
                self._constraint.take(token)
            if self._teller:
                self.tokens.append(self._teller.of(logits, token))
            yield token
            if self._constraint and self._constraint.done:
                self.finish = "stop"
                return
            todo = [token]

    def _advance(self, ids: list[int], read: Read) -> np.ndarray | None:
        """Logits after `ids`, computed in chunks; None when cancelled before the end."""
        logits = None
        for start in range(0, len(ids), CHUNK):
            if self._cancel.is_set():
                return None
            logits = read(ids[start : start + CHUNK])
        return logits


def _chunks(
    steps: _Steps, ids: tuple[int, ...], sampling: Sampling, detokenizer: Detokenizer
) -> Iterator[Chunk]:
    scanner, taken, texts, told = StopScanner(sampling.stop), list[int](), list[str](), 0
    for token in steps:
        taken.append(token)
        piece = scanner.push(detokenizer.push([token]))
        if piece:
            texts.append(piece)
            yield Chunk(text=piece, tokens=tuple(steps.tokens[told:]))
            told = len(steps.tokens)
        if scanner.found:
            break
    rest = "" if scanner.found else scanner.push(detokenizer.flush())
    rest += "" if scanner.found else scanner.flush()
    texts.append(rest)
    yield Chunk(
        text=rest,
        tokens=tuple(steps.tokens[told:]),
        completion=Completion(
            text="".join(texts),
            finish="stop" if scanner.found else steps.finish,
            tokens_in=len(ids),
            tokens_out=len(taken),
            ids=tuple(taken),
            tokens=tuple(steps.tokens),
        ),
    )
