"""One timed request: what is an answer, and why there is none. Against real sockets that misbehave."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from smallworks.errors import UserError
from smallworks.evaluate.wire import Wire, home, words

USAGE = {"prompt_tokens": 5, "completion_tokens": 3}
WHOLE = {"choices": [{"message": {"content": "a b"}, "finish_reason": "stop"}], "usage": USAGE}


def piece(text: str, finish: str | None = None, **more: object) -> bytes:
    choice = {"delta": {"content": text} if text else {}, "finish_reason": finish}
    return b"data: " + json.dumps({"choices": [choice], **more}).encode() + b"\n\n"


class Server(BaseHTTPRequestHandler):
    """Each path misbehaves in its own way."""

    protocol_version = "HTTP/1.1"
    connections = 0

    def log_message(self, *said: object) -> None:
        """Quiet."""

    def setup(self) -> None:
        type(self).connections += 1
        super().setup()

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        getattr(self, self.path.strip("/"))()

    def say(self, body: bytes, status: int = 200) -> None:
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def whole(self) -> None:
        self.say(json.dumps(WHOLE).encode())

    def busy(self) -> None:
        self.say(b'{"error": {"message": "Too many."}}', 429)

    def garbage(self) -> None:
        self.say(b"<html>")

    def silent(self) -> None:
        time.sleep(0.6)
        self.say(b"{}")

    def gone(self) -> None:
        self.close_connection = True

    def stream(self) -> None:
        self.say(piece("") + piece("a") + piece("b") + piece("", "stop", usage=USAGE) + b"data: [DONE]\n\n")

    def uncounted(self) -> None:
        self.say(piece("a") + piece("b", "stop"))

    def cut(self) -> None:
        self.say(piece("a"))

    def failing(self) -> None:
        self.say(piece("a") + b'data: {"error": {"message": "no"}}\n\n')

    def trickle(self) -> None:
        self.send_response(200)
        self.send_header("content-length", "1000")
        self.end_headers()
        for _ in range(50):
            self.wfile.write(b" ")
            time.sleep(0.02)


@contextmanager
def quiet(server: ThreadingHTTPServer) -> Iterator[str]:
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    server.daemon_threads = server.block_on_close = False
    server.daemon_threads = True
    server.handle_error = lambda *said: None  # type: ignore[method-assign]
    with quiet(server) as url:
        yield url


@pytest.mark.parametrize(
    ("path", "cause"),
    [
        ("whole", ""),
        ("busy", "429"),
        ("garbage", "no JSON answer"),
        ("silent", "timeout"),
        ("trickle", "timeout"),
        ("gone", "connection lost"),
    ],
)
def test_a_whole_answer_or_the_cause(address: str, path: str, cause: str) -> None:
    reply = Wire(address, timeout=0.4).ask(f"/{path}", b"{}", stream=False)
    assert reply.cause == cause
    assert (reply.tokens_in, reply.tokens_out) == ((0, 0) if cause else (5, 3))


@pytest.mark.parametrize(
    ("path", "cause", "tokens"),
    [
        ("stream", "", 3),
        ("uncounted", "", 2),
        ("cut", "broken off", 0),
        ("failing", "error in the stream", 0),
    ],
)
def test_a_stream_to_its_end_or_the_cause(address: str, path: str, cause: str, tokens: int) -> None:
    before = time.perf_counter()
    reply = Wire(address).ask(f"/{path}", b"{}", stream=True)
    assert (reply.cause, reply.tokens_out) == (cause, tokens)
    assert cause or (reply.first is not None and before < reply.first < time.perf_counter())


def test_one_connection_serves_many_requests_and_is_made_anew_after_a_failure(address: str) -> None:
    wire, before = Wire(address, timeout=0.4), Server.connections
    for _ in range(3):
        assert wire.ask("/whole", b"{}", stream=False).cause == ""
        assert wire.ask("/busy", b"{}", stream=False).cause == "429"
        assert wire.ask("/stream", b"{}", stream=True).cause == ""
    assert Server.connections == before + 1
    assert wire.ask("/silent", b"{}", stream=False).cause == "timeout"
    assert wire.ask("/whole", b"{}", stream=False).cause == ""


def test_nobody_there_is_a_cause_in_a_load_and_an_error_outside() -> None:
    wire = Wire("http://127.0.0.1:9/v1")
    assert wire.ask("/x", b"{}", stream=False).cause == "refused"
    with pytest.raises(UserError, match=r"127\.0\.0\.1:9 gave no answer \(refused\).*server runs"):
        wire.fetch("GET", "/v1/models")


def test_addresses() -> None:
    assert (
        Wire("http://localhost:1").local and Wire("http://[::1]:1").local and Wire("http://127.9.9.9").local
    )
    assert not Wire("https://127.example.org").local
    for url in ("ftp://x", "http://", "http://x:99999", "localhost:8000"):
        with pytest.raises(UserError, match="not an http or https address"):
            Wire(url)


def test_what_a_server_says_of_a_failure() -> None:
    assert words(b'{"error": {"message": "No such model."}}') == "No such model"
    assert words(b"<h1>\n Bad  gateway</h1>") == "<h1> Bad gateway</h1>"


@pytest.mark.parametrize("written", ["http://h:1/a", "http://h:1/a/", "http://h:1/a/v1", "http://h:1/a/v1/"])
def test_an_address_is_the_same_with_and_without_v1(written: str) -> None:
    assert home(written) == "http://h:1/a"
