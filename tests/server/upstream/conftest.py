"""Servers behind the one under test: plain asyncio on loopback, each with a manner of its own."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from threading import Thread
from typing import Any

import pytest

from smallworks.server import background, create_app
from smallworks.server.upstream import Upstream

Write = Callable[[bytes], Awaitable[None]]
Manner = Callable[["Asked", Write], Awaitable[None]]
USAGE = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}


@dataclass
class Asked:
    """One request as it came. `gone` is set when its connection is over."""

    line: str
    headers: dict[str, str]
    body: bytes
    gone: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def said(self) -> Any:
        return json.loads(self.body)


@dataclass
class Behind:
    """A server that was started; `asked` is every POST that came."""

    port: int
    asked: list[Asked] = field(default_factory=list)
    connections: int = 0
    stop: Callable[[], None] = lambda: None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"


def answer(text: str = "Hello", **more: Any) -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    return {
        "id": "1",
        "object": "chat.completion",
        "model": "inner",
        "choices": [choice],
        "usage": USAGE,
        **more,
    }


def http(status: int, body: bytes | dict[str, Any] = b"", **headers: str) -> bytes:
    """A framed response; underscores in header names stand for hyphens."""
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    head = f"HTTP/1.1 {status} X\r\ncontent-length: {len(body)}\r\n{lines}\r\n"
    return head.encode() + body


def says(status: int = 200, body: bytes | dict[str, Any] | None = None, **headers: str) -> Manner:
    async def manner(asked: Asked, write: Write) -> None:
        await write(http(status, answer() if body is None else body, **headers))

    return manner


def delta(text: str, **more: Any) -> bytes:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
    return b"data: " + json.dumps({"model": "inner", "choices": [choice], **more}).encode() + b"\n\n"


HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
LAST = b"data: " + json.dumps({"choices": [], "usage": USAGE}).encode() + b"\n\n"
DONE = b"data: [DONE]\n\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def streams(*texts: str) -> Manner:
    """Usage as OpenAI's servers: at the end, where it was asked."""

    async def manner(asked: Asked, write: Write) -> None:
        await write(HEAD)
        for text in texts:
            await write(chunk(delta(text)))
        if asked.said.get("stream_options", {}).get("include_usage"):
            await write(chunk(LAST))
        await write(chunk(DONE))
        await write(b"0\r\n\r\n")

    return manner


async def _serve(
    behind: Behind, manner: Manner, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    behind.connections += 1
    asked = None

    async def write(data: bytes) -> None:
        writer.write(data)
        await writer.drain()

    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            line, *fields = head.rstrip().split("\r\n")
            headers = {k.lower(): v for k, _, v in (each.partition(": ") for each in fields)}
            body = await reader.readexactly(int(headers.get("content-length", 0)))
            asked = Asked(line, headers, body)
            if line.startswith("GET"):
                await write(http(200, {"data": [{"id": "inner"}]}))
                continue
            behind.asked.append(asked)
            working = asyncio.ensure_future(manner(asked, write))
            listening = asyncio.ensure_future(_gone(reader))
            await asyncio.wait((working, listening), return_when=asyncio.FIRST_COMPLETED)
            if listening.done():
                asked.gone.set()
            await working
            listening.cancel()
    except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
        pass
    finally:
        if asked:
            asked.gone.set()
        writer.transport.abort()


async def _gone(reader: asyncio.StreamReader) -> None:
    while not reader.at_eof() and reader.exception() is None:
        await asyncio.sleep(0.005)


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    thread = Thread(target=loop.run_forever, daemon=True)
    thread.start()
    yield loop
    loop.call_soon_threadsafe(loop.stop)
    thread.join(60)


@pytest.fixture()
def behind(loop: asyncio.AbstractEventLoop) -> Iterator[Callable[[Manner], Behind]]:
    """Starts a server of that manner."""
    stops: list[Callable[[], None]] = []

    def start(manner: Manner) -> Behind:
        async def begin() -> Behind:
            found = Behind(0)
            server = await asyncio.start_server(lambda r, w: _serve(found, manner, r, w), "127.0.0.1", 0)
            found.port = server.sockets[0].getsockname()[1]
            found.stop = lambda: loop.call_soon_threadsafe(server.close)
            return found

        made = asyncio.run_coroutine_threadsafe(begin(), loop).result(60)
        stops.append(made.stop)
        return made

    yield start
    for stop in stops:
        stop()


@pytest.fixture()
def relaying() -> Callable[..., AbstractContextManager[str]]:
    """Serves the model 'm' from servers at these addresses, with further fields of [[upstream]]."""

    @contextmanager
    def serve(*servers: Any, keys: Any = None, **fields: Any) -> Iterator[str]:
        each = tuple({"url": one.url} if isinstance(one, Behind) else one for one in servers)
        upstream = Upstream.model_validate({"models": ("m",), "server": each, "check_every": 600.0, **fields})
        with background(create_app({}, default="m", upstreams=[upstream], keys=keys)) as url:
            yield url

    return serve
