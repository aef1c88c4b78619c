"""Answers as the JSON that OpenAI's clients read. Pure: values in, dicts and bytes out.

A classification's probabilities ride along as `smallworks`, and in the logprobs shape when asked.
"""

from __future__ import annotations

import math
import secrets
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from smallworks.server.ask import Piece
from smallworks.server.calling import Called, Reader
from smallworks.server.json_bytes import write_ascii
from smallworks.server.reply import Encoded
from smallworks.types import Answer, Token

LEAST = -9999.0
"""The log-probability that OpenAI's API gives for what cannot be."""


def event(value: Any) -> bytes:
    """One event, in ASCII: some clients take U+2028 and its kin for the end of a line.

    Where the event says its own type, as those of /v1/responses do, that is its name too.
    """
    body = value.body if isinstance(value, Encoded) else write_ascii(value)
    written = b"data: " + body + b"\n\n"
    name = value.get("type")
    return written if name is None else b"event: " + name.encode() + b"\n" + written


DONE = b"data: [DONE]\n\n"


class Wording(Protocol):
    """How one request's answers are worded."""

    def reply(self, answers: Sequence[Answer]) -> dict[str, Any]:
        """The whole answer to a request that does not stream."""
        ...


@dataclass(frozen=True, kw_only=True)
class StreamWording(ABC):
    """Whole or in pieces. `top` is how many labels' or tokens' logprobs were asked, None for none.

    `calls` says that the answers are JSON that may call tools. The readers are of answers in the making.
    """

    model: str
    top: int | None = None
    usage: bool = False
    calls: bool = False
    readers: dict[int, Reader] = field(default_factory=dict)
    id: str = field(default_factory=lambda: secrets.token_hex(12))
    created: int = field(default_factory=lambda: int(time.time()))

    prefix = ""
    kind = ""
    chunk_kind = ""

    def reply(self, answers: Sequence[Answer]) -> dict[str, Any]:
        choices = [self.choice(index, answer) for index, answer in enumerate(answers)]
        return {
            **self._head(self.kind),
            "choices": choices,
            "usage": usage(answers),
            **extra(answers[0]),
        }

    def opening(self) -> list[dict[str, Any]]:
        """What precedes the first piece."""
        return []

    def events(self, piece: Piece) -> list[dict[str, Any]]:
        """What one piece brings; the last piece of an answer brings its end."""
        chunk = self.chunk(piece)
        silent = self.calls and piece.answer is None and not chunk["choices"][0].get("delta")
        return [] if silent else [chunk]

    def chunk(self, piece: Piece) -> dict[str, Any]:
        end = piece.answer
        body = {**self._head(self.chunk_kind), "choices": [self.delta(piece)]}
        if self.usage:
            body["usage"] = None
        return {**body, **(extra(end) if end else {})}

    def closing(self, answers: Sequence[Answer]) -> list[dict[str, Any]]:
        """What follows the last piece: the usage where it was asked."""
        if not self.usage:
            return []
        return [{**self._head(self.chunk_kind), "choices": [], "usage": usage(answers)}]

    def read(self, index: int, text: str) -> tuple[str, Sequence[Called]]:
        """The words and the calls that are new with this text of an answer."""
        return self.readers.setdefault(index, Reader()).take(text) if self.calls else (text, ())

    def finish(self, index: int, answer: Answer) -> str:
        """Why it ended, once all of it has been read; calls that are whole say so before a limit does."""
        called = self.calls and self.readers[index].count and answer.finish == "stop"
        return "tool_calls" if called else answer.finish

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


class ChatWording(StreamWording):
    prefix = "chatcmpl-"
    kind = "chat.completion"
    chunk_kind = "chat.completion.chunk"

    def opening(self) -> list[dict[str, Any]]:
        first = {"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}
        body = {**self._head(self.chunk_kind), "choices": [first]}
        return [{**body, "usage": None} if self.usage else body]

    def choice(self, index: int, answer: Answer) -> dict[str, Any]:
        words, calls = self.read(index, answer.text)
        message: dict[str, Any] = {"role": "assistant", "content": words, "refusal": None}
        if calls:
            message |= {"content": None, "tool_calls": [_call(call) for call in calls]}
        return {
            "index": index,
            "message": message,
            "logprobs": self._logprobs(answer, answer.tokens),
            "finish_reason": self.finish(index, answer),
        }

    def delta(self, piece: Piece) -> dict[str, Any]:
        end = piece.answer
        words, calls = self.read(piece.index, piece.text)
        delta: dict[str, Any] = {"content": words} if words else {}
        if calls:
            first = self.readers[piece.index].count - len(calls)
            delta["tool_calls"] = [{"index": at, **_call(call)} for at, call in enumerate(calls, first)]
        return {
            "index": piece.index,
            "delta": delta,
            "logprobs": self._logprobs(end, piece.tokens),
            "finish_reason": self.finish(piece.index, end) if end else None,
        }

    def _logprobs(self, answer: Answer | None, tokens: Sequence[Token]) -> dict[str, Any] | None:
        if self.top is None:
            return None
        if answer is None or answer.probabilities is None:
            told = [{**_drawn(t), "top_logprobs": [_drawn(o) for o in t.top]} for t in tokens]
            return {"content": told, "refusal": None}
        ranked = [_token(label, p) for label, p in _ranked(answer.probabilities)]
        chosen = _token(answer.text, answer.probabilities[answer.text])
        return {"content": [{**chosen, "top_logprobs": ranked[: self.top]}], "refusal": None}


@dataclass(frozen=True, kw_only=True)
class CompletionWording(StreamWording):
    """`offsets` is how many characters of each answer's tokens have been told."""

    offsets: dict[int, int] = field(default_factory=dict)

    prefix = "cmpl-"
    kind = chunk_kind = "text_completion"

    def choice(self, index: int, answer: Answer) -> dict[str, Any]:
        return {
            "index": index,
            "text": answer.text,
            "logprobs": self._logprobs(index, answer, answer.tokens),
            "finish_reason": answer.finish,
        }

    def delta(self, piece: Piece) -> dict[str, Any]:
        end = piece.answer
        return {
            "index": piece.index,
            "text": piece.text,
            "logprobs": self._logprobs(piece.index, end, piece.tokens),
            "finish_reason": end.finish if end else None,
        }

    def _logprobs(self, index: int, answer: Answer | None, tokens: Sequence[Token]) -> dict[str, Any] | None:
        if self.top is None:
            return None
        if answer is None or answer.probabilities is None:
            return self._told(index, tokens)
        ranked = {label: _log(p) for label, p in _ranked(answer.probabilities)[: self.top]}
        return {
            "tokens": [answer.text],
            "token_logprobs": [_log(answer.probabilities[answer.text])],
            "top_logprobs": [ranked],
            "text_offset": [0],
        }

    def _told(self, index: int, tokens: Sequence[Token]) -> dict[str, Any]:
        offsets: list[int] = []
        for token in tokens:
            offsets.append(self.offsets.get(index, 0))
            self.offsets[index] = offsets[-1] + len(token.text)
        return {
            "tokens": [token.text for token in tokens],
            "token_logprobs": [token.logprob for token in tokens],
            "top_logprobs": [{other.text: other.logprob for other in token.top} for token in tokens],
            "text_offset": offsets,
        }


@dataclass(frozen=True)
class OutputWording:
    """As in the common FastAPI tutorial: `output`, and the probabilities where it is a label."""

    def reply(self, answers: Sequence[Answer]) -> dict[str, Any]:
        (answer,) = answers
        more = {} if answer.probabilities is None else {"probabilities": answer.probabilities}
        return {"output": answer.text, **more, **_abstained(answer)}


@dataclass(frozen=True)
class LabelsWording:
    """The label and probabilities of each item."""

    model: str

    def reply(self, answers: Sequence[Answer]) -> dict[str, Any]:
        data = [_labelled(index, answer) for index, answer in enumerate(answers)]
        return {"object": "list", "model": self.model, "data": data, "usage": usage(answers)}


def _labelled(index: int, answer: Answer) -> dict[str, Any]:
    assert answer.probabilities is not None
    return {
        "index": index,
        "label": answer.text,
        "probability": answer.probabilities[answer.text],
        "probabilities": answer.probabilities,
        **_abstained(answer),
        **({"stage": answer.stage} if answer.stage else {}),
        **({"shortened": True} if answer.shortened else {}),
    }


def _abstained(answer: Answer) -> dict[str, Any]:
    """Whether the input seems out of scope, where the bundle can tell."""
    return {} if answer.abstain is None else {"abstain": answer.abstain}


def usage(answers: Sequence[Answer]) -> dict[str, int]:
    tokens_in = sum(a.tokens_in for a in answers)
    tokens_out = sum(a.tokens_out for a in answers)
    return {
        "prompt_tokens": tokens_in,
        "completion_tokens": tokens_out,
        "total_tokens": tokens_in + tokens_out,
    }


def extra(answer: Answer) -> dict[str, Any]:
    if answer.sources is not None:
        cited = [{"document": s.document, "path": s.path} for s in answer.sources if s.cited]
        return {"smallworks": {"citations": cited}}
    if answer.probabilities is None:
        return {}
    said: dict[str, Any] = {"label": answer.text, "probabilities": answer.probabilities, **_abstained(answer)}
    if answer.stage:
        said["stage"] = answer.stage
    return {"smallworks": {**said, "shortened": True} if answer.shortened else said}


def _call(call: Called) -> dict[str, Any]:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


def _drawn(token: Token) -> dict[str, Any]:
    raw = None if token.raw is None else list(token.raw)
    return {"token": token.text, "logprob": max(token.logprob, LEAST), "bytes": raw}


def _ranked(probabilities: Mapping[str, float]) -> list[tuple[str, float]]:
    return sorted(probabilities.items(), key=lambda item: -item[1])


def _token(label: str, probability: float) -> dict[str, Any]:
    return {"token": label, "logprob": _log(probability), "bytes": list(label.encode())}


def _log(probability: float) -> float:
    return math.log(probability) if probability > 0 else LEAST
