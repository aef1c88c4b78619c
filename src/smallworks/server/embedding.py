"""An embedding model as a Host: texts to unit vectors, behind its own bounded line.

A text that the model would cut is refused: a vector of half a document says so nowhere.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from starlette.requests import Request

from smallworks import settings
from smallworks.bundle.store import hash_weights
from smallworks.engines.base import resolve_embedder
from smallworks.server.failures import BadField
from smallworks.server.hosts import Events, Form, Said
from smallworks.server.line import Line
from smallworks.server.meters import Meters
from smallworks.server.reply import Figures, to_bytes
from smallworks.server.rules import Rules
from smallworks.server.shapes import EmbeddingRequest, checked
from smallworks.server.ticket import Ticket
from smallworks.server.turns import Turns
from smallworks.server.visit import Visit
from smallworks.server.waiting import outcome
from smallworks.types import Answer

if TYPE_CHECKING:
    import numpy as np

PLACES = 1
"""Requests embedded at once: a batch takes every core by itself."""
PATH = "/embeddings"


class Encodes(Protocol):
    """An embedder that tells what it reads of a text."""

    dimension: int
    max_tokens: int

    @property
    def identity(self) -> str:
        """A hash of all that its vectors rest on."""
        ...

    def embed(self, texts: Sequence[str]) -> np.ndarray: ...

    def count(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text, those past `max_tokens` included."""
        ...


def opened(ref: str) -> Encodes:
    """A model by folder or hub id, as int8 ONNX: converted once, and kept. Raises ModelError."""
    from smallworks.compress.encoder import encode_to_onnx
    from smallworks.engines.onnx import Encoder

    folder = resolve_embedder(ref)
    return Encoder(encode_to_onnx(folder, settings.load().home / "encoders" / hash_weights(folder)[:16]))


def called(ref: str) -> str:
    """The name of a model by its folder or hub id: the last part, without the commit."""
    return Path(ref.rstrip("/")).name.partition("@")[0]


class Embedding:
    """Implements hosts.Host for one embedder under its `name`."""

    json = False

    def __init__(self, name: str, embedder: Encodes, *, rules: Rules, meters: Meters) -> None:
        self.names, self.identity = (name,), embedder.identity
        self._embedder = embedder
        self._line = Line(name, PLACES, rules)
        self._meters = meters.bundle(name, self._line)
        self.price = self._meters.price
        self._turns = Turns(PLACES, "embed")

    def describe(self) -> Said:
        return {"task": None, "kind": "embed", "dimensions": self._embedder.dimension}

    def count(self, text: str) -> int | None:
        return None

    def temperature(self, said: Said) -> float | None:
        return 0.0

    async def reply(self, request: Request, form: Form, name: str, said: Said) -> Said:
        if form.path != PATH:
            raise self._embeds_only()
        body = checked(EmbeddingRequest, said)
        self._check(body)
        most = sum(len(text.encode()) + 2 for text in body.texts)
        visit: Visit = request.scope["visit"]
        holding = await visit.allowance.hold(most, self.price) if visit.allowance else None
        ticket = Ticket(self._line, self._meters, holding, most, visit)
        future = self._turns.submit(visit.key, most, partial(self._embed, name, body, ticket))
        future.add_done_callback(ticket.close)
        answer = asyncio.wrap_future(future)
        return await outcome(answer, visit, request.receive, began=lambda: ticket.began)

    async def stream(self, request: Request, form: Form, name: str, said: Said) -> Events:
        raise self._embeds_only()

    def close(self) -> None:
        self._turns.shutdown()

    def _check(self, body: EmbeddingRequest) -> None:
        size = self._embedder.dimension
        if body.dimensions not in (None, size):
            raise BadField(
                f"'dimensions' is {body.dimensions}; the vectors of '{self.names[0]}' have {size}.",
                fix=f"Leave it out, or send {size}.",
                param="dimensions",
            )
        empty = next((at for at, text in enumerate(body.texts) if not text), None)
        if empty is not None:
            raise BadField("An input is empty.", fix="Leave it out.", param=f"input.{empty}")

    def _embed(self, name: str, body: EmbeddingRequest, ticket: Ticket) -> Said:
        ticket.begin()
        texts = body.texts
        counts = self._embedder.count(texts)
        most = self._embedder.max_tokens
        for at, count in enumerate(counts):
            if count > most:
                raise BadField(
                    f"Input {at} takes {count} tokens; '{self.names[0]}' reads {most}.",
                    fix="Cut it into shorter texts.",
                    param=f"input.{at}",
                )
        vectors = self._embedder.embed(texts)
        ticket.answered(Answer(text="", tokens_in=sum(counts), tokens_out=0, ms=0.0))
        return _worded(name, body, vectors, sum(counts))

    def _embeds_only(self) -> BadField:
        return BadField(
            f"'{self.names[0]}' embeds texts and writes none.", fix="Ask it at /v1/embeddings.", param="model"
        )


def _worded(name: str, body: EmbeddingRequest, vectors: np.ndarray, tokens: int) -> Figures:
    """Row by row: one call for all of them would keep every other thread waiting, the event loop's too."""
    coded = body.encoding_format == "base64"
    data = [
        to_bytes({"object": "embedding", "index": at, "embedding": _base64(row) if coded else row.tolist()})
        for at, row in enumerate(vectors)
    ]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    said = {"object": "list", "model": name, "usage": usage}
    return Figures(said, b'%b,"data":[%b]}' % (to_bytes(said)[:-1], b",".join(data)))


def _base64(row: Any) -> str:
    """Little-endian float32, as OpenAI's clients read it."""
    return base64.b64encode(row.astype("<f4").tobytes()).decode()
