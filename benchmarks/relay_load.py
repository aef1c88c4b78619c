"""Clients that cost little: requests one after another, or many at once, on open connections. No claim."""

from __future__ import annotations

import asyncio
import socket
import time
from dataclasses import dataclass, field
from typing import Any

PATIENCE = 30.0


@dataclass(frozen=True, kw_only=True)
class Ask:
    """A request to one gateway, as bytes."""

    port: int
    path: str = "/v1/chat/completions"
    model: str = "mock"
    headers: dict[str, str] = field(default_factory=dict)

    def raw(self, *, stream: bool = False) -> bytes:
        text = "The export crashes whenever I choose PDF. " * 4
        system = '{"role":"system","content":"You name the kind of a ticket."}'
        extra = ',"stream":true,"stream_options":{"include_usage":true}' if stream else ""
        body = (
            f'{{"model":"{self.model}","messages":[{system},{{"role":"user","content":"{text}"}}],'
            f'"max_tokens":20{extra}}}'
        )
        lines = {"host": "127.0.0.1", "content-type": "application/json", **self.headers}
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        return f"POST {self.path} HTTP/1.1\r\n{head}content-length: {len(body)}\r\n\r\n{body}".encode()


class Line:
    """One connection, asked one request after another."""

    def __init__(self, ask: Ask, *, stream: bool = False) -> None:
        self._socket = socket.create_connection(("127.0.0.1", ask.port), timeout=PATIENCE)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._raw, self._stream = ask.raw(stream=stream), stream

    def once(self) -> tuple[float, float]:
        """Milliseconds to the first byte of the answer's body, and to its last. Raises RuntimeError."""
        began, got, first = time.perf_counter(), b"", 0.0
        self._socket.sendall(self._raw)
        while not complete(got, self._stream):
            data = self._socket.recv(2**16)
            if not data:
                raise RuntimeError(f"the gateway hung up after {got[:200]!r}")
            got += data
            if not first and b"\r\n\r\n" in got and not got.endswith(b"\r\n\r\n"):
                first = time.perf_counter()
        now = time.perf_counter()
        if not got.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(f"the gateway answered {got[:400]!r}")
        return 1000 * ((first or now) - began), 1000 * (now - began)

    def close(self) -> None:
        self._socket.close()


def complete(got: bytes, stream: bool) -> bool:
    end = got.find(b"\r\n\r\n")
    if end < 0:
        return False
    at = got.lower().find(b"content-length:", 0, end)
    if at < 0:
        return got.endswith(b"0\r\n\r\n") and (not stream or b"[DONE]" in got)
    return len(got) >= end + 4 + int(got[at + 15 : end].split(b"\r", 1)[0])


class _Client(asyncio.Protocol):
    """Asks again as soon as it is answered, until the flood ends."""

    def __init__(self, ask: Ask, flood: _Flood) -> None:
        self._raw, self._flood, self._got = ask.raw(), flood, b""

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        transport.write(self._raw)

    def data_received(self, data: bytes) -> None:
        self._got = self._got + data if self._got else data
        if not complete(self._got, False):
            return
        if not self._got.startswith(b"HTTP/1.1 200"):
            self._flood.failed = f"the gateway answered {self._got[:400]!r}"
            return
        self._got = b""
        self._flood.answered += 1
        if not self._flood.over:
            self._transport.write(self._raw)

    def connection_lost(self, error: Exception | None) -> None:
        if not self._flood.over:
            self._flood.failed = "the gateway hung up"


@dataclass
class _Flood:
    answered: int = 0
    over: bool = False
    failed: str = ""


def flood(ask: Ask, *, seconds: float, connections: int = 64) -> float:
    """Requests answered a second over `connections`, each asking again when answered. Raises RuntimeError."""
    import uvloop

    async def run() -> float:
        loop, state = asyncio.get_running_loop(), _Flood()
        began, transports = time.perf_counter(), []
        for _ in range(connections):
            made = await loop.create_connection(lambda: _Client(ask, state), "127.0.0.1", ask.port)
            transports.append(made[0])
        await asyncio.sleep(seconds)
        rate = state.answered / (time.perf_counter() - began)
        state.over = True
        for transport in transports:
            transport.abort()
        if state.failed or not state.answered:
            raise RuntimeError(state.failed or f"no answer within {seconds:g} s at {connections} connections")
        return rate

    return float(uvloop.run(run()))
