"""One timed request to an OpenAI-shaped server: when its first token came, its tokens, or why it failed.

The standard library's client, one kept-alive connection a thread: it takes a tenth of a millisecond a request
of this machine, so that a load tool measures the server. Knows bodies as bytes; knows no load.
"""

from __future__ import annotations

import ipaddress
import json
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, urlsplit

from smallworks.engines import openai_shape as shape
from smallworks.errors import SmallworksError, UserError
from smallworks.evaluate.load import Reply

if TYPE_CHECKING:
    from http.client import HTTPConnection, HTTPResponse

BLOCK = 65536


@dataclass(frozen=True, kw_only=True)
class Answered:
    """A whole exchange: the HTTP status, and the body of an answer that does not stream."""

    status: int
    body: bytes


class Failed(Exception):
    """Why there is no answer, in a word or two; never seen by a user."""


class Wire:
    """Puts bodies to one address. Safe to share among threads: each has its own connection."""

    def __init__(self, url: str, *, timeout: float = 60.0, key: str | None = None) -> None:
        self._at = _parts(url)
        self._timeout = timeout
        self._headers = {"content-type": "application/json", "accept-encoding": "identity"}
        if key:
            self._headers["authorization"] = f"Bearer {key}"
        self._own = threading.local()

    @property
    def local(self) -> bool:
        """Whether the server is on this machine, as far as its name tells."""
        host = self._at.hostname or ""
        try:
            return host == "localhost" or ipaddress.ip_address(host).is_loopback
        except ValueError:
            return False

    def ask(self, path: str, body: bytes, *, stream: bool) -> Reply:
        """One request, timed. A failure is a reply with its cause, and costs the connection."""
        until = time.perf_counter() + self._timeout
        try:
            response = self._send("POST", path, body)
            if response.status != 200:
                _rest(response, until)
                return Reply(cause=str(response.status))
            return _streamed(response, until) if stream else _whole(_rest(response, until))
        except Failed as error:
            self.close()
            return Reply(cause=str(error))
        except Exception as error:
            self.close()
            return Reply(cause=_cause(error))

    def fetch(self, method: str, path: str, body: bytes | None = None) -> Answered:
        """One request outside the load. Raises UserError where the server cannot be reached."""
        try:
            response = self._send(method, path, body)
            return Answered(status=response.status, body=_rest(response, time.perf_counter() + self._timeout))
        except Exception as error:
            self.close()
            raise UserError(
                f"{self._at.geturl()} gave no answer ({_cause(error)}).",
                fix="Check that the server runs and that the URL is right.",
            ) from error

    def close(self) -> None:
        """End the connection of this thread."""
        if connection := self._connection():
            connection.close()
        self._own.connection = None

    def _connection(self) -> HTTPConnection | None:
        found: HTTPConnection | None = getattr(self._own, "connection", None)
        return found

    def _send(self, method: str, path: str, body: bytes | None) -> HTTPResponse:
        """The response with its body unread; once more where an idle connection had been closed meanwhile."""
        from http.client import RemoteDisconnected

        kept = self._connection()
        connection = kept or self._connect()
        try:
            connection.request(method, self._at.path.rstrip("/") + path, body, self._headers)
            return connection.getresponse()
        except (RemoteDisconnected, BrokenPipeError, ConnectionResetError):
            self.close()
            if kept is None:
                raise
            return self._send(method, path, body)

    def _connect(self) -> HTTPConnection:
        from http.client import HTTPConnection, HTTPSConnection

        kind = HTTPSConnection if self._at.scheme == "https" else HTTPConnection
        self._own.connection = kind(self._at.hostname or "", self._at.port, timeout=self._timeout)
        made: HTTPConnection = self._own.connection
        return made


def home(url: str) -> str:
    """The address without a last /v1, which the paths bring."""
    return url.rstrip("/").removesuffix("/v1")


def _parts(url: str) -> SplitResult:
    at = urlsplit(home(url))
    try:
        fits = at.scheme in ("http", "https") and at.hostname and (at.port or 1)
    except ValueError:
        fits = None
    if not fits:
        raise UserError(f"'{url}' is not an http or https address.", fix="Try http://127.0.0.1:8000.")
    return at


def _blocks(response: HTTPResponse, until: float) -> Iterator[bytes]:
    """The body as it comes. A server that trickles runs out of time too."""
    while block := response.read1(BLOCK):
        yield block
        if time.perf_counter() > until:
            raise Failed("timeout")
    response.close()  # read to its end: the connection is free for the next request


def _rest(response: HTTPResponse, until: float) -> bytes:
    return b"".join(_blocks(response, until))


def _whole(body: bytes) -> Reply:
    try:
        reply = shape.parse(body)
    except SmallworksError as error:
        raise Failed("no JSON answer") from error
    tokens = shape.usage_of(reply) or (0, shape.estimate(shape.text_of(_choice(reply), "message")))
    return Reply(tokens_in=tokens[0], tokens_out=tokens[1])


def _streamed(response: HTTPResponse, until: float) -> Reply:
    """Server-sent events: the first with text, and the tokens as the server counts them or one an event."""
    first, pieces, usage, ended = None, 0, None, False
    for event in _events(response, until):
        if event == b"[DONE]":
            ended = True
            continue
        try:
            reply = shape.parse(event)
        except SmallworksError as error:
            raise Failed("error in the stream") from error
        usage = shape.usage_of(reply) or usage
        choice = _choice(reply)
        if shape.text_of(choice, "delta"):
            first = first or time.perf_counter()
            pieces += 1
        ended = ended or bool(choice.get("finish_reason"))
    if not ended:
        raise Failed("broken off")
    tokens = usage or (0, pieces)
    return Reply(first=first, tokens_in=tokens[0], tokens_out=tokens[1])


def _events(response: HTTPResponse, until: float) -> Iterator[bytes]:
    left = b""
    for block in _blocks(response, until):
        *lines, left = (left + block).split(b"\n")
        for line in lines:
            if line.startswith(b"data:"):
                yield line[5:].strip()


def _choice(reply: Mapping[str, Any]) -> Mapping[str, Any]:
    choices = reply.get("choices")
    return choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else {}


def _cause(error: Exception) -> str:
    """The word for a failure; what is not of the network is a fault of ours and goes on."""
    from http.client import HTTPException

    if isinstance(error, TimeoutError):
        return "timeout"
    if isinstance(error, ConnectionRefusedError):
        return "refused"
    if isinstance(error, ConnectionError):
        return "connection lost"
    if isinstance(error, HTTPException):
        return "no HTTP answer"
    if isinstance(error, OSError):
        return "network"
    raise error


def words(body: bytes) -> str:
    """What a server says of a failure, short."""
    try:
        value = json.loads(body)
    except ValueError:
        return " ".join(body.decode("utf-8", "replace").split())[:200]
    return shape.message_of(value) if isinstance(value, dict) else str(value)[:200]
