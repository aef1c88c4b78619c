"""One answer of llama.cpp in the making: events in, text out, and the finished Completion at the end.

Knows nothing of threads or requests.
"""

from __future__ import annotations

import codecs
from collections.abc import Mapping
from typing import Any

from smallworks.engines.stops import StopScanner
from smallworks.types import Completion, Finish, Sampling, Token


class Answer:
    """Takes the events of one streamed completion, in order.

    llama.cpp holds back tokens that end inside a character and then reports only the last of them, so
    the ids of an answer with such a character are not known: `Completion.ids` is empty then, while
    `tokens_out` counts them all. `strip_space` drops one space at the very beginning, as the decoders of
    SentencePiece tokenizers do.
    """

    def __init__(self, sampling: Sampling, *, tokens_in: int, strip_space: bool = False) -> None:
        self._stop_ids = frozenset(sampling.stop_ids)
        self._scanner = StopScanner(sampling.stop)
        self._bytes = codecs.getincrementaldecoder("utf-8")("replace")
        self._strip_space = strip_space
        self._texts: list[str] = []
        self._ids: list[int] = []
        self._top = sampling.logprobs
        self._tokens: list[Token] = []
        self._told = 0
        self._tokens_in = tokens_in
        self._tokens_out = 0
        self._last_is_text = True
        self._finish: Finish | None = None

    @property
    def done(self) -> bool:
        return self._finish is not None

    def take(self, event: Mapping[str, Any]) -> str:
        """The text that this event lets out."""
        if self.done:
            return ""
        choice = event["choices"][0]
        self._tokens_in = event.get("usage", {}).get("prompt_tokens", self._tokens_in)
        self._tokens_out = event.get("timings", {}).get("predicted_n", self._tokens_out)
        piece = "".join(self._token(entry) for entry in (choice["logprobs"] or {}).get("content", ()))
        if choice["finish_reason"] and not self.done:
            self._end(choice["finish_reason"])
        return self._show(piece)

    def told(self) -> tuple[Token, ...]:
        """The tokens since this was asked last; none unless log-probabilities were wanted."""
        new = tuple(self._tokens[self._told :])
        self._told = len(self._tokens)
        return new

    def rest(self) -> str:
        """What was held back for a stop string that did not come; once, after the last event."""
        # Bytes of a character that was never finished: llama.cpp drops them, the reference engine shows this.
        unfinished = self._finish == "length" and self._tokens_out > len(self._ids)
        tail = self._bytes.decode(b"", final=True) or ("\N{REPLACEMENT CHARACTER}" if unfinished else "")
        return "" if self._scanner.found else self._show(tail) + self._keep(self._scanner.flush())

    def completion(self, *, cancelled: bool) -> Completion:
        self.rest()
        known = len(self._ids) == self._tokens_out
        return Completion(
            text="".join(self._texts),
            finish=self._finish or ("cancelled" if cancelled else "length"),
            tokens_in=self._tokens_in,
            tokens_out=self._tokens_out,
            ids=tuple(self._ids) if known else (),
            tokens=tuple(self._tokens),
        )

    def _token(self, entry: Mapping[str, Any]) -> str:
        if self.done:
            return ""
        if entry["id"] in self._stop_ids:
            self._finish = "stop"
            self._tokens_out -= 1
            return ""
        self._ids.append(entry["id"])
        if self._top is not None:
            self._tokens.append(_as_token(entry, self._top))
        self._last_is_text = bool(entry["bytes"])
        return self._bytes.decode(bytes(entry["bytes"]))

    def _end(self, reason: str) -> None:
        self._finish = "stop" if reason == "stop" else "length"
        if reason == "stop" and self._ids and not self._last_is_text:
            # The model's own end-of-generation token, which is no part of the answer.
            self._ids.pop()
            self._tokens = self._tokens[: len(self._ids)]
            self._tokens_out -= 1

    def _show(self, piece: str) -> str:
        if piece and self._strip_space:
            piece, self._strip_space = piece.removeprefix(" "), False
        shown = self._keep(self._scanner.push(piece))
        if self._scanner.found:
            self._finish = "stop"
        return shown

    def _keep(self, text: str) -> str:
        self._texts.append(text)
        return text


def _as_token(entry: Mapping[str, Any], top: int) -> Token:
    others = tuple(_as_token(other, 0) for other in entry["top_logprobs"][:top]) if top else ()
    return Token(text=entry["token"], logprob=entry["logprob"], raw=bytes(entry["bytes"]), top=others)
