"""Hits by likeness: the one text of a request, embedded, its neighbours, and whether they agree with it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from smallworks.seams import Embedder
from smallworks.server.cache.agreement import agree
from smallworks.server.cache.config import Semantic
from smallworks.server.cache.near import Neighbours
from smallworks.server.hosts import Said

PLACES = {"/completions": "prompt", "/generate": "input_text", "/classify": "input"}
"""Where a form has its text; a chat has it in the last message."""
LONGEST = 2000
"""Characters; the vector of a longer text tells too little of it."""
WAITING = 64
"""Texts that may wait for the embedder; further requests go without."""


@dataclass(frozen=True, slots=True)
class AskedText:
    """A request's one text, its vector, and the frame: a hash of the request without it."""

    text: str
    vector: np.ndarray
    frame: bytes


class Likeness:
    """For the event loop; the embedder runs in a thread. Close it."""

    def __init__(
        self, config: Semantic, embedder: Embedder, drawn: Callable[[], float] = random.random
    ) -> None:
        self.models = frozenset(config.models)
        self._config, self._embedder, self._drawn = config, embedder, drawn
        self._neighbours = Neighbours(config.entries)
        self._thread = ThreadPoolExecutor(1, "embedder")
        self._waiting = 0

    async def read(self, form: str, said: Said, frame: Callable[[Said], bytes]) -> AskedText | None:
        """None where the request is not one short text. Raises whatever the embedder raises."""
        parts = apart(form, said)
        if parts is None or not parts[0].strip() or len(parts[0]) > LONGEST or self._waiting >= WAITING:
            return None
        self._waiting += 1
        try:
            loop = asyncio.get_running_loop()
            vectors = await loop.run_in_executor(self._thread, self._embedder.embed, [parts[0]])
        finally:
            self._waiting -= 1
        return AskedText(parts[0], vectors[0], frame(parts[1]))

    def nearest(self, text: AskedText) -> Iterator[bytes]:
        """The keys of those that agree, the nearest first."""
        for _, other, key in self._neighbours.nearest(text.frame, text.vector, self._config.threshold):
            if agree(text.text, other):
                yield key

    def add(self, text: AskedText, key: bytes) -> None:
        self._neighbours.add(text.frame, text.vector, text.text, key)

    def forget(self, text: AskedText, key: bytes) -> None:
        self._neighbours.forget(text.frame, key)

    def draws_recheck(self) -> bool:
        return self._drawn() < self._config.recheck

    async def same(self, one: Said, other: Said) -> bool:
        """Whether two answers say the same: the same texts, or texts that are near and agree."""
        said = [_texts(one), _texts(other)]
        if said[0] == said[1]:
            return True
        if len(said[0]) != len(said[1]) or _has_labels(one):
            return False
        loop = asyncio.get_running_loop()
        vectors = await loop.run_in_executor(self._thread, self._embedder.embed, [*said[0], *said[1]])
        half = len(said[0])
        near = (vectors[:half] * vectors[half:]).sum(1) >= self._config.threshold
        return bool(near.all()) and all(agree(a, b) for a, b in zip(*said, strict=True))

    def close(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)


def apart(form: str, said: Said) -> tuple[str, Said] | None:
    """The one text that a request is about, and the request without it; None where there is no one text."""
    if form == "/chat/completions":
        messages = said.get("messages")
        if not isinstance(messages, list) or not messages or not isinstance(messages[-1], dict):
            return None
        *before, last = messages
        text = last.get("content")
        if last.get("role") != "user" or not isinstance(text, str):
            return None
        return text, {**said, "messages": [*before, {**last, "content": None}]}
    place = PLACES.get(form)
    text = said.get(place) if place else None
    return (text, {**said, str(place): None}) if isinstance(text, str) else None


def _texts(answer: Said) -> list[str]:
    """What an answer says, choice by choice."""
    if "output" in answer:
        return [str(answer["output"])]
    rows: list[Any] = answer.get("choices") or answer.get("data") or []
    return [" ".join(str(_said(row)).split()) for row in rows]


def _said(row: Any) -> Any:
    message = row.get("message") or {}
    return message.get("tool_calls") or message.get("content") or row.get("text") or row.get("label") or ""


def _has_labels(answer: Said) -> bool:
    return "smallworks" in answer or "probabilities" in answer or answer.get("object") == "list"
