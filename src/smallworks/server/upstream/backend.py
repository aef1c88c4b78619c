"""One server behind this one: how it is asked, what it has to do, whether it is well.

An Attempt is one request at it. Knows no other server and no client.
"""

from __future__ import annotations

import time

from smallworks.server.hosts import Said
from smallworks.server.upstream.breaker import Breaker
from smallworks.server.upstream.failed import Failed
from smallworks.server.upstream.meters import ServerMeters
from smallworks.server.upstream.pool import Pool, Target
from smallworks.server.upstream.said import check_status, parsed
from smallworks.server.upstream.settings import Server, Upstream
from smallworks.server.upstream.wire import Connection
from smallworks.settings import secret

STATES = {"closed": 0.0, "half-open": 1.0, "open": 2.0}
MAX_REFUSAL = 2**20
"""Bytes read of what is said in a stream's place."""


class Backend:
    def __init__(self, server: Server, rules: Upstream, meters: ServerMeters) -> None:
        """Raises UserError for a key variable that is not set."""
        server.check()
        self.name, self.model, self.weight = server.name, server.model, server.weight
        self.seed = f"{server.url} {server.model or ''}".encode()[-64:]
        self.outstanding = 0
        self.healthy = True
        self.counts = True
        """Whether it can be asked for the usage of a stream."""
        self.breaker = Breaker(failures=rules.failures, seconds=rules.rest)
        self.meters, self.silence, self.max_answer = meters, server.silence, rules.max_answer
        self.target = Target.of(server.url)
        self.pool = Pool(self.target, connect_seconds=server.connect, ca=server.ca)
        self._paused = 0.0
        self._key = secret(server.key_env) if server.key_env else ""
        self._heads: dict[str, bytes] = {}
        self._health = server.health
        meters.watch(
            lambda: self.outstanding,
            lambda: STATES[self.breaker.state(time.monotonic())],
            lambda: float(self.healthy),
        )

    def wait(self, now: float) -> float:
        """Seconds until it may be asked."""
        return max(self._paused - now, self.breaker.wait(now), 0.0)

    def pause(self, seconds: float, now: float) -> None:
        self._paused = max(self._paused, now + seconds)

    def request(self, path: str, body: bytes, request_id: bytes) -> bytes:
        """A POST to a path below the server's own, as bytes."""
        head = self._heads.get(path)
        if head is None:
            head = self._heads[path] = self._head("POST", self.target.path + path)
        return b"%bx-request-id: %b\r\ncontent-length: %d\r\n\r\n%b" % (head, request_id, len(body), body)

    def hidden(self, words: str) -> str:
        """The server's own words without its key and its address."""
        for private in filter(None, (self._key, self.target.authority, self.target.host)):
            words = words.replace(private, "…")
        return words

    async def models(self, seconds: float) -> list[str]:
        """The models it lists. Raises Failed."""
        said = parsed(await self._get(self.target.path + "/models", seconds))
        data = said.get("data")
        rows = data if isinstance(data, list) else []
        names = [row.get("id") for row in rows if isinstance(row, dict)]
        return [name for name in names if isinstance(name, str) and name.isprintable()]

    async def look(self, seconds: float) -> None:
        """Ask how it is. Raises Failed where it is not well."""
        await self._get(self._health or self.target.path + "/models", seconds)

    async def _get(self, path: str, seconds: float) -> bytes:
        connection = await self.pool.fresh()
        try:
            request = self._head("GET", path) + b"\r\n"
            connection.ask(request, limit=self.max_answer, patience=seconds)
            body = await connection.whole()
        finally:
            self.pool.give(connection)
        check_status(connection.status, connection.headers, body)
        return body

    def _head(self, method: str, path: str) -> bytes:
        lines = [f"{method} {path} HTTP/1.1", f"host: {self.target.authority}", "accept-encoding: identity"]
        if method == "POST":
            lines.append("content-type: application/json")
        if self._key:
            lines.append(f"authorization: Bearer {self._key}")
        return "".join(f"{line}\r\n" for line in lines).encode("ascii")


class Attempt:
    """One request of `tokens` at one server. `end` it in every case; only the first time counts."""

    def __init__(self, backend: Backend, tokens: int) -> None:
        now = time.monotonic()
        self.backend, self.began = backend, now
        self._tokens = tokens
        self._probe = backend.breaker.begin(now)
        self._over = False
        self.connection: Connection | None = None
        backend.outstanding += tokens

    async def whole(self, request: bytes, seconds: float) -> Said:
        """The whole answer as a JSON object. Raises Failed, also when it has not begun in `seconds`."""
        connection, body = await self._sent(request, seconds, stream=False)
        check_status(connection.status, connection.headers, body)
        said = parsed(body)
        self.backend.meters.seconds.observe(time.monotonic() - self.began)
        return said

    async def stream(self, request: bytes) -> Connection:
        """The connection over which events will come. Raises Failed."""
        connection, _ = await self._sent(request, self.backend.silence, stream=True)
        if connection.status >= 400:
            connection.bound(MAX_REFUSAL)
            check_status(connection.status, connection.headers, await connection.whole())
        check_status(connection.status, connection.headers)
        if not connection.headers.get(b"content-type", b"").startswith(b"text/event-stream"):
            raise Failed("garbage")
        return connection

    def answers(self) -> None:
        """It has begun to: what the breaker sent it out for is known, however long the rest may take."""
        if self._probe:
            self._probe = False
            self.backend.breaker.succeeded()

    def end(self, failed: Failed | None = None, *, abandoned: bool = False) -> None:
        """Well, failed, or abandoned before it told anything."""
        if self._over:
            return
        self._over = True
        backend, now = self.backend, time.monotonic()
        backend.outstanding -= self._tokens
        if self.connection is not None:
            if failed is not None and failed.blames:
                self.connection.close()
            backend.pool.give(self.connection, ended=failed is None and not abandoned)
        if failed is not None:
            backend.meters.failed(failed.cause)
            backend.pause(failed.seconds, now)
        if failed is not None and failed.blames:
            backend.breaker.failed(now, probe=self._probe)
        elif not abandoned:
            backend.breaker.succeeded()
        elif self._probe:
            backend.breaker.abandoned()

    async def _sent(self, request: bytes, seconds: float, *, stream: bool) -> tuple[Connection, bytes]:
        """The connection once its status, or all of it, is there, and then the body; awaited for `seconds`.

        Sent once more where a connection at rest had been closed meanwhile.
        """
        backend = self.backend
        connection = backend.pool.rested() or await backend.pool.fresh()
        while True:
            self.connection, rested = connection, connection.answers > 0
            connection.ask(request, limit=backend.max_answer, patience=seconds)
            try:
                await connection.head()
                connection.patience = backend.silence
                return connection, b"" if stream else await connection.whole()
            except Failed as failed:
                if not (rested and failed.cause == "broken" and connection.silent):
                    raise
            connection = await backend.pool.fresh()
