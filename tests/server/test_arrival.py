"""Slow and endless requests: each is cut off in a bounded time and size, and others are served meanwhile."""

from __future__ import annotations

import asyncio
import gc
import re
import socket
import time
import weakref
from collections.abc import Callable, Iterator

import httpx2
import pytest
import uvicorn
from uvicorn.server import ServerState

from smallworks.engines.fake import Fake
from smallworks.engines.predictor import Predictor
from smallworks.server import arrival, background, create_app, run
from smallworks.server.shapes import MAX_BODY

HEAD = b"POST /generate HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"


@pytest.fixture()
def address(
    labelling: Callable[..., Predictor], monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[str, int]]:
    monkeypatch.setattr(arrival, "SECONDS", 0.2)
    with background(create_app({"tickets": labelling()}, default="tickets")) as url:
        host, port = url.removeprefix("http://").split(":")
        yield host, int(port)


def rest(connection: socket.socket) -> bytes:
    """All that the server still says, until it hangs up; nothing where it did so with bytes unread."""
    connection.settimeout(20)
    said = b""
    try:
        while piece := connection.recv(65536):
            said += piece
    except ConnectionResetError:
        return said
    return said


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"P",
        HEAD[:40],
        HEAD,
        HEAD + b"content-length: 100\r\n\r\n",
        HEAD + b"content-length: 9\r\n\r\n{",
        HEAD + b"transfer-encoding: chunked\r\n\r\n5\r\n{",
    ],
    ids=["nothing", "a byte", "half a line", "no end of head", "no body", "half a body", "half a chunk"],
)
def test_a_request_that_does_not_come_is_cut_off(address: tuple[str, int], sent: bytes) -> None:
    with socket.create_connection(address) as connection:
        connection.sendall(sent)
        assert rest(connection).startswith(b"HTTP/1.1 408 ")
    assert httpx2.get(f"http://{address[0]}:{address[1]}/healthz").status_code == 200


def test_requests_sent_in_one_piece_are_answered_one_after_another(address: tuple[str, int]) -> None:
    bodies = [b'{"input_text":"it crashes"}', b"{}", b"{", b'{"input_text":"again"}']
    ends = [b"", b"", b"", b"connection: close\r\n"]
    sent = b"".join(
        HEAD + end + b"content-length: %d\r\n\r\n%b" % (len(body), body)
        for end, body in zip(ends, bodies, strict=True)
    )
    with socket.create_connection(address) as connection:
        connection.sendall(sent)
        said = rest(connection)
    assert re.findall(rb"HTTP/1.1 (\d+)", said) == [b"200", b"400", b"400", b"200"]


class Stuck(asyncio.Transport):
    """Less and less waits to be written, then nothing more is taken."""

    def __init__(self) -> None:
        super().__init__()
        self.waits, self.aborted = [300, 200, 100, 100], asyncio.Event()

    def get_write_buffer_size(self) -> int:
        return self.waits.pop(0)

    def abort(self) -> None:
        self.aborted.set()

    def close(self) -> None: ...


def test_a_client_that_takes_nothing_of_its_answer_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrival, "UNREAD_SECONDS", 0.01)

    async def run() -> None:
        config = uvicorn.Config(lambda scope: None)
        protocol = arrival.Arrival(config=config, server_state=ServerState(), app_state={})
        transport = Stuck()
        protocol.connection_made(transport)
        protocol.pause_writing()
        protocol.resume_writing()  # it was taken
        protocol.pause_writing()
        await asyncio.wait_for(transport.aborted.wait(), 10)
        assert transport.waits == []
        protocol.connection_lost(None)

    asyncio.run(run())


def test_slow_lorises_keep_nobody_out(address: tuple[str, int], caplog: pytest.LogCaptureFixture) -> None:
    url = f"http://{address[0]}:{address[1]}"
    with httpx2.Client(base_url=url, timeout=20) as client:
        slow = [socket.create_connection(address) for _ in range(100)]
        for connection in slow:
            connection.sendall(HEAD + b"content-length: 100\r\n\r\n{")
        assert client.post("/generate", json={"input_text": "It crashes."}).json()["output"] == "bug"
        assert {rest(connection)[:12] for connection in slow} <= {b"HTTP/1.1 408", b""}
        for connection in slow:
            connection.close()
        assert client.post("/generate", json={"input_text": "It crashes."}).status_code == 200
    assert "unexpected" not in caplog.text


def test_a_head_without_end_is_cut_off(address: tuple[str, int]) -> None:
    with socket.create_connection(address) as connection:
        try:
            connection.sendall(HEAD)
            for _ in range(100):
                connection.sendall(b"x-more: " + b"y" * 8192 + b"\r\n")
            said = rest(connection)
        except ConnectionError:  # it hung up while we were sending
            return
    assert said.startswith(b"HTTP/1.1 431 ")


def test_ten_megabytes_are_refused_before_they_are_read(address: tuple[str, int]) -> None:
    url = f"http://{address[0]}:{address[1]}/generate"
    with socket.create_connection(address) as connection:
        connection.sendall(HEAD + b"content-length: 10485760\r\n\r\n")
        assert rest(connection).startswith(b"HTTP/1.1 413 ")
    try:
        refused = httpx2.post(
            url, content=b"[" + b"1," * 5_000_000, headers={"content-type": "application/json"}
        )
    except httpx2.HTTPError:  # it hung up while we were sending
        return
    assert refused.status_code == 413


def test_an_answer_may_take_longer_than_a_request(
    writing: Callable[..., Predictor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrival, "SECONDS", 0.05)
    app = create_app({"slow": writing(Fake(pace=0.02))}, default="slow")
    with background(app) as url, httpx2.Client(base_url=url, timeout=20) as client:
        for _ in range(2):
            assert client.post("/generate", json={"input_text": "xx"}).json()["output"] == "Say it.\n\nxx"


BODY = b'{"input_text":"It crashes."}'
WHOLE = HEAD + b"content-length: %d\r\n\r\n%b" % (len(BODY), BODY)
LAST = WHOLE.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n")


class Mark:
    """Lies in the scope of a request, and ends with it."""


@pytest.fixture()
def marks(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[weakref.ref[Mark]]]:
    """One of each request of a server, and no collector that would find it."""
    made: list[weakref.ref[Mark]] = []

    class Marking(arrival.Arrival):
        def on_message_begin(self) -> None:
            super().on_message_begin()
            mark = self.scope["mark"] = Mark()  # type: ignore[typeddict-unknown-key]
            made.append(weakref.ref(mark))

    monkeypatch.setattr(run, "Arrival", Marking)
    gc.disable()
    yield made
    gc.enable()


def come_to(marks: list[weakref.ref[Mark]], made: int, left: int) -> bool:
    """Whether soon so many requests came and so many are still there; a server hears late of an end."""
    for _ in range(250):
        if (len(marks), sum(mark() is not None for mark in marks)) == (made, left):
            return True
        time.sleep(0.02)
    return False


def answered(connection: socket.socket) -> bytes:
    """One answer with a length."""
    connection.settimeout(20)
    said = b""
    while not (found := re.search(rb"content-length: (\d+)\r\n(?s:.*?)\r\n\r\n", said)):
        said += connection.recv(65536)
    while len(said) < found.end() + int(found[1]):
        said += connection.recv(65536)
    return said


@pytest.mark.parametrize("sent", [WHOLE, WHOLE[:-1]], ids=["whole", "cut off"])
def test_a_closed_connection_leaves_nothing_in_memory(
    marks: list[weakref.ref[Mark]], address: tuple[str, int], sent: bytes
) -> None:
    for _ in range(3):
        with socket.create_connection(address) as connection:
            connection.sendall(sent)
            if sent.endswith(BODY):
                answered(connection)
    assert come_to(marks, 3, 0)


def test_a_failed_request_leaves_nothing_in_memory(
    marks: list[weakref.ref[Mark]], writing: Callable[..., Predictor]
) -> None:
    short = writing(Fake(context=20))
    with background(create_app({"short": short}, default="short")) as url:
        host, port = url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(WHOLE)
            assert answered(connection).startswith(b"HTTP/1.1 400 ")
        assert come_to(marks, 1, 0)


def test_a_request_of_a_connection_that_stays_leaves_nothing_in_memory(
    marks: list[weakref.ref[Mark]], address: tuple[str, int]
) -> None:
    with socket.create_connection(address) as connection:
        for _ in range(5):
            connection.sendall(WHOLE)
            assert answered(connection).startswith(b"HTTP/1.1 200 ")
        assert come_to(marks, 5, 1), "the last one alone is still the connection's"


def test_a_client_that_waits_is_told_to_go_on(address: tuple[str, int]) -> None:
    head, body = WHOLE.split(b"\r\n\r\n")
    with socket.create_connection(address) as connection:
        connection.sendall(head + b"\r\nexpect: 100-continue\r\n\r\n")
        connection.settimeout(20)
        assert connection.recv(25, socket.MSG_WAITALL) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        said = answered(connection)
    assert said.startswith(b"HTTP/1.1 200 ") and b'"output":"bug"' in said


def test_a_client_that_waits_with_too_much_is_refused_at_once(address: tuple[str, int]) -> None:
    with socket.create_connection(address) as connection:
        connection.sendall(HEAD + b"expect: 100-continue\r\ncontent-length: %d\r\n\r\n" % (MAX_BODY + 1))
        assert rest(connection).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize(("size", "status"), [(0, b"200"), (MAX_BODY, b"413")], ids=["small", "too large"])
def test_a_chunked_body_is_read_to_the_largest(address: tuple[str, int], size: int, status: bytes) -> None:
    head = HEAD + b"transfer-encoding: chunked\r\nconnection: close\r\n\r\n"
    pieces = [BODY[:1], *([b" " * 65536] * (size // 65536)), BODY[1:]]
    said = b""
    with socket.create_connection(address) as connection:
        try:
            connection.sendall(head + b"".join(b"%x\r\n%b\r\n" % (len(one), one) for one in pieces))
            connection.sendall(b"0\r\n\r\n")
        except ConnectionError:  # it hung up while we were sending
            assert status == b"413"
        said = rest(connection)
    assert said.startswith(b"HTTP/1.1 " + status) or (size and not said)


def test_a_head_alone_is_answered_without_a_body(address: tuple[str, int]) -> None:
    with socket.create_connection(address) as connection:
        connection.sendall(b"HEAD /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n" + LAST)
        said = rest(connection)
    assert re.findall(rb"HTTP/1.1 (\d+)", said) == [b"200", b"200"]
    assert b"\r\n\r\nHTTP/1.1 " in said and said.count(b"\r\n\r\n{") == 1


def test_a_connection_closes_when_asked_to(address: tuple[str, int]) -> None:
    with socket.create_connection(address) as connection:
        connection.sendall(LAST)
        said = rest(connection)
    head, _, body = said.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ") and b"connection: close" in head.lower()
    assert b"content-length: %d\r\n" % len(body) in head + b"\r\n"
