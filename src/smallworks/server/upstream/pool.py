"""Connections to one server: those at rest, the one used last first, and new ones. Knows no request."""

from __future__ import annotations

import asyncio
import ssl
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from smallworks.server.upstream.failed import Failed
from smallworks.server.upstream.wire import Connection

REST_SECONDS = 60.0
"""A connection that rested longer is not trusted: something between may have forgotten it without a word."""


@dataclass(frozen=True)
class Target:
    """Where a server listens, and the path before /chat/completions."""

    host: str
    port: int
    path: str
    tls: bool

    @classmethod
    def of(cls, url: str) -> Target:
        parts = urlsplit(url)
        tls = parts.scheme == "https"
        return cls(parts.hostname or "", parts.port or (443 if tls else 80), parts.path.rstrip("/"), tls)

    @property
    def authority(self) -> str:
        """As the Host header says it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.tls else 80) else f"{host}:{self.port}"


class Pool:
    """Bounded by who asks: there are as many connections as answers under way at the busiest moment."""

    def __init__(self, target: Target, *, connect_seconds: float, ca: Path | None = None) -> None:
        """Raises OSError or ssl.SSLError for a `ca` file that cannot be used."""
        self._target, self._connect_seconds = target, connect_seconds
        self._tls = ssl.create_default_context(cafile=ca) if target.tls else None
        if self._tls:
            self._tls.set_alpn_protocols(["http/1.1"])
        self._resting: list[tuple[Connection, float]] = []
        self._all: set[Connection] = set()

    async def take(self) -> Connection:
        """A connection at rest, or a new one. Raises Failed."""
        return self.rested() or await self.fresh()

    def rested(self) -> Connection | None:
        """A connection at rest that is trusted, where there is one."""
        while self._resting:
            connection, since = self._resting.pop()
            if connection.reusable and time.monotonic() - since < REST_SECONDS:
                return connection
            connection.close()
        return None

    async def fresh(self) -> Connection:
        """Raises Failed."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._connect_seconds):
                _, connection = await loop.create_connection(
                    lambda: Connection(loop, self._all.discard),
                    self._target.host,
                    self._target.port,
                    ssl=self._tls,
                    server_hostname=self._target.host if self._tls else None,
                )
        except (OSError, TimeoutError) as error:  # ssl.SSLError is one
            raise Failed("connect") from error
        self._all.add(connection)
        return connection

    def give(self, connection: Connection, *, ended: bool = False) -> None:
        """Back to rest, or closed where its answer was not taken to the end; `ended` says that it was."""
        if connection.reusable:
            self._resting.append((connection, time.monotonic()))
        elif ended and not connection.lost:
            connection.finish(self.give)
        else:
            connection.close()

    def close(self) -> None:
        self._resting.clear()
        for connection in list(self._all):
            connection.close()
