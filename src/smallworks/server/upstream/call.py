"""One request on its way to some server: what is sent, how large it is, where it has been."""

from __future__ import annotations

from starlette.requests import Request

from smallworks.server import json_bytes
from smallworks.server.hosts import Form, Said
from smallworks.server.upstream import balance
from smallworks.server.upstream import said as words
from smallworks.server.upstream.backend import Backend
from smallworks.server.upstream.failed import Failed
from smallworks.server.upstream.settings import Upstream
from smallworks.server.usage import asking_none, wants_usage, with_usage
from smallworks.server.visit import Visit
from smallworks.types import Answer


class Call:
    def __init__(self, request: Request, form: Form, name: str, said: Said, section: Upstream) -> None:
        self.visit: Visit = request.scope["visit"]
        self.path, self.name = form.path, name
        self.counted = form.streams and said.get("stream") is True and form.path in words.COUNTING
        self.usage = wants_usage(said)
        """Whether the usage is told; `wanted` where the client itself asked for it."""
        self.wanted = self.usage and not self.visit.usage_for_cache
        self._rest = {key: value for key, value in said.items() if key != "model"}
        if self.usage and not self.wanted:
            self._rest = asking_none(self._rest)
        self._encoded = self._encode(counted=self.counted and not self.wanted)
        self.size = len(self._encoded)
        self.tokens = words.most_tokens(form.path, said, self.size, section.max_tokens)
        self.beginning = b"" if len(section.server) < 2 else balance.beginning(said, section.prefix)
        self.attempts, self.waited = 0, 0.0
        self.failed: Failed | None = None
        self.tried: list[Backend] = []

    def request(self, backend: Backend) -> bytes:
        rest = self._encoded if backend.counts or self.wanted else self._encode(counted=False)
        model = json_bytes.write(backend.model or self.name)
        return backend.request(self.path, b'{"model":%b%b' % (model, rest), self.visit.id)

    def used(self, counts: tuple[int, int] | None, written: int) -> Answer:
        return words.used(counts, sent=self.size, came=written, ms=1000 * self.visit.taken())

    def _encode(self, *, counted: bool) -> bytes:
        """What stands behind the model's name, to the end."""
        rest = with_usage(self._rest) if counted else self._rest
        return b"," + json_bytes.write(rest)[1:] if rest else b"}"
