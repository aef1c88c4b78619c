"""Answers as the JSON that OpenAI's clients read. Pure: values in, dicts and bytes out.

A classification's probabilities ride along as `smallworks`, and in the logprobs shape when asked.
"""

from __future__ import annotations

import json
import math
import secrets
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from smallworks.server.ask import Piece
from smallworks.types import Answer

LEAST = -9999.0
"""The log-probability that OpenAI's API gives for what cannot be."""


def event(value: Any) -> bytes:
    """One event, in ASCII: some clients take U+2028 and its kin for the end of a line."""
    return b"data: " + json.dumps(value, separators=(",", ":")).encode() + b"\n\n"


DONE = b"data: [DONE]\n\n"


@dataclass(frozen=True, kw_only=True)
class Wording(ABC):
    """How one request's answers are worded. `top` is how many labels' logprobs were asked, None for none."""

    model: str
    top: int | None = None
    usage: bool = False
    id: str = field(default_factory=lambda: secrets.token_hex(12))
    created: int = field(default_factory=lambda: int(time.time()))

    prefix = ""
    kind = ""
    chunk_kind = ""

    def reply(self, answers: Sequence[Answer]) -> dict[str, Any]:
        """The whole answer to a request that does not stream."""
        choices = [self.choice(index, answer) for index, answer in enumerate(answers)]
        return {
            **self._head(self.kind),
            "choices": choices,
            "usage": usage(answers),
            **extra(answers[0]),
        }

    def chunk(self, piece: Piece) -> bytes:
        """The event of one piece; the last piece of an answer brings its end."""
        end = piece.answer
        body = {**self._head(self.chunk_kind), "choices": [self.delta(piece)]}
        if self.usage:
            body["usage"] = None
        return event({**body, **(extra(end) if end else {})})

    def closing(self, answers: Sequence[Answer]) -> bytes:
        """What follows the last piece: the usage where it was asked, and the end."""
        if not self.usage:
            return DONE
        return event({**self._head(self.chunk_kind), "choices": [], "usage": usage(answers)}) + DONE

    def opening(self) -> bytes:
        return b""

    @abstractmethod
    def choice(self, index: int, answer: Answer) -> dict[str, Any]:
        """One answer of a whole reply."""

    @abstractmethod
    def delta(self, piece: Piece) -> dict[str, Any]:
        """One piece of a streamed answer."""

    def _head(self, kind: str) -> dict[str, Any]:
        return {
            "id": self.prefix + self.id,
            "object": kind,
            "created": self.created,
            "model": self.model,
        }


class ChatWording(Wording):
    prefix = "chatcmpl-"
    kind = "chat.completion"
    chunk_kind = "chat.completion.chunk"

    def opening(self) -> bytes:
        first = {"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}
        body = {**self._head(self.chunk_kind), "choices": [first]}
        return event({**body, "usage": None} if self.usage else body)

    def choice(self, index: int, answer: Answer) -> dict[str, Any]:
        return {
            "index": index,
            "message": {"role": "assistant", "content": answer.text, "refusal": None},
            "logprobs": self._logprobs(answer),
            "finish_reason": answer.finish,
        }

    def delta(self, piece: Piece) -> dict[str, Any]:
        end = piece.answer
        return {
            "index": piece.index,
            "delta": {"content": piece.text} if piece.text else {},
            "logprobs": self._logprobs(end) if end else None,
            "finish_reason": end.finish if end else None,
        }

    def _logprobs(self, answer: Answer) -> dict[str, Any] | None:
        if self.top is None or answer.probabilities is None:
            return None
        ranked = [_token(label, p) for label, p in _ranked(answer.probabilities)]
        chosen = _token(answer.text, answer.probabilities[answer.text])
        return {"content": [{**chosen, "top_logprobs": ranked[: self.top]}], "refusal": None}


class CompletionWording(Wording):
    prefix = "cmpl-"
    kind = chunk_kind = "text_completion"

    def choice(self, index: int, answer: Answer) -> dict[str, Any]:
        return {
            "index": index,
            "text": answer.text,
            "logprobs": self._logprobs(answer),
            "finish_reason": answer.finish,
        }

    def delta(self, piece: Piece) -> dict[str, Any]:
        end = piece.answer
        return {
            "index": piece.index,
            "text": piece.text,
            "logprobs": self._logprobs(end) if end else None,
            "finish_reason": end.finish if end else None,
        }

    def _logprobs(self, answer: Answer) -> dict[str, Any] | None:
        if self.top is None or answer.probabilities is None:
            return None
        ranked = {label: _log(p) for label, p in _ranked(answer.probabilities)[: self.top]}
        return {
            "tokens": [answer.text],
            "token_logprobs": [_log(answer.probabilities[answer.text])],
            "top_logprobs": [ranked],
            "text_offset": [0],
        }


def usage(answers: Sequence[Answer]) -> dict[str, int]:
    tokens_in = sum(a.tokens_in for a in answers)
    tokens_out = sum(a.tokens_out for a in answers)
    return {
        "prompt_tokens": tokens_in,
        "completion_tokens": tokens_out,
        "total_tokens": tokens_in + tokens_out,
    }


def extra(answer: Answer) -> dict[str, Any]:
    if answer.probabilities is None:
        return {}
    said: dict[str, Any] = {"label": answer.text, "probabilities": answer.probabilities}
    if answer.stage:
        said["stage"] = answer.stage
    return {"smallworks": {**said, "shortened": True} if answer.shortened else said}


def _ranked(probabilities: Mapping[str, float]) -> list[tuple[str, float]]:
    return sorted(probabilities.items(), key=lambda item: -item[1])


def _token(label: str, probability: float) -> dict[str, Any]:
    return {"token": label, "logprob": _log(probability), "bytes": list(label.encode())}


def _log(probability: float) -> float:
    return math.log(probability) if probability > 0 else LEAST
