"""Slow and endless requests: each is cut off in a bounded time and size, and others are served meanwhile."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Callable, Iterator

import httpx2
import pytest
import uvicorn
from uvicorn.server import ServerState

from smallworks.engines.predictor import Predictor
from smallworks.server import arrival, background, create_app

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
    from smallworks.engines.fake import Fake

    monkeypatch.setattr(arrival, "SECONDS", 0.05)
    app = create_app({"slow": writing(Fake(pace=0.02))}, default="slow")
    with background(app) as url, httpx2.Client(base_url=url, timeout=20) as client:
        for _ in range(2):
            assert client.post("/generate", json={"input_text": "xx"}).json()["output"] == "Say it.\n\nxx"
