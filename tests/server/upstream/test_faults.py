"""What servers do wrong, and what their clients and the other servers notice of it."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest

from .conftest import DONE, HEAD, Asked, Behind, Write, answer, chunk, delta, http, says, streams
from .test_relay import ASK, CLIENT, ask, meter, server_loop_set


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def code(told: httpx2.Response) -> tuple[int, str]:
    return told.status_code, told.json()["error"]["code"]


async def dies(asked: Asked, write: Write) -> None:
    await write(b"HTTP/1.1 200 OK\r\ncontent-length: 999\r\n\r\n{")
    raise ConnectionError


async def hangs(asked: Asked, write: Write) -> None:
    await asked.gone.wait()


GARBAGE = {
    "no HTTP": b"SSH-2.0-OpenSSH_9.6\r\n",
    "no JSON": http(200, b"<html>ok</html>"),
    "no object": http(200, b"[1]"),
    "not UTF-8": http(200, b'{"a": "\xff"}'),
    "nested": http(200, b"[" * 100_000),
    "two lengths": b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}",
    "length and chunks": http(200, b"2\r\n{}\r\n0\r\n\r\n", transfer_encoding="chunked"),
    "compressed": http(200, b"\x1f\x8b", content_encoding="gzip"),
    "upgrade": b"HTTP/1.1 101 Switching\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\n",
    "endless headers": b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 20_000,
}
CASES = [
    *((name, raw, (502, "upstream_garbage")) for name, raw in GARBAGE.items()),
    ("redirect", http(307, b"", location="http://127.0.0.1:1/"), (502, "upstream_garbage")),
    ("huge", http(200, b"x" * 5000), (502, "upstream_garbage")),
    ("denied", http(401, {"error": {"message": "no"}}), (502, "upstream_denied")),
    ("failed", http(500, {"error": {"message": "sorry"}}), (502, "upstream_down")),
    ("failed with 200", http(200, {"error": {"message": "sorry"}}), (502, "upstream_down")),
    ("refused", http(422, {"error": {"message": "too long", "code": "context"}}), (422, "context")),
]


@pytest.mark.parametrize(("raw", "wanted"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_a_bad_answer_is_an_error_in_openais_shape(
    behind: Any, relaying: Any, raw: bytes, wanted: tuple[int, str]
) -> None:
    async def manner(asked: Asked, write: Write) -> None:
        await write(raw)

    with relaying(behind(manner), retries=0, max_answer=4096) as url:
        told = ask(url)
        assert code(told) == wanted
        assert "127.0.0.1" not in told.text
        if raw.startswith(b"HTTP/1.1 200"):
            assert code(ask(url, stream=True))[0] == 502


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("bad", [dies, says(500), says(200, b"junk"), says(429, retry_after="30"), says(302)])
def test_another_server_answers_for_one_that_fails(
    behind: Any, relaying: Any, bad: Any, stream: bool
) -> None:
    async def good(asked: Asked, write: Write) -> None:
        await (streams("Hello") if asked.said.get("stream") else says())(asked, write)

    wrong, right = behind(bad), behind(good)
    with relaying(wrong, right, prefix=0) as url:
        for _ in range(6):
            told = ask(url, stream=stream)
            assert told.status_code == 200
            assert "Hello" in told.text
        assert len(right.asked) == 6
        assert meter(url, "smallworks_upstream_retries_total") == len(wrong.asked) > 0
    assert not any(each.line.endswith("/") for each in wrong.asked)


def test_a_server_that_is_down_is_left_alone_after_some_failures(behind: Any, relaying: Any) -> None:
    right, down = behind(says()), Behind(free_port())
    with relaying(down, right, prefix=0, failures=3, rest=60.0) as url:
        assert [ask(url).status_code for _ in range(12)] == [200] * 12
        failed = 'smallworks_upstream_failures_total{bundle="m",cause="connect"'
        assert meter(url, failed) <= 3
    with relaying(down, retries=1, failures=2, longest_wait=1.0, rest=30.0) as url:
        assert code(ask(url)) == (502, "upstream_down")
        told = ask(url)
        assert code(told) == (503, "no_upstream")
        assert 1 <= int(told.headers["retry-after"]) <= 30


def test_a_stream_that_falls_silent_is_given_up_and_nobody_does_it_again(behind: Any, relaying: Any) -> None:
    slow, quick = behind(hangs), behind(streams("a"))
    servers = {"url": slow.url, "silence": 0.1, "weight": 1000.0}, {"url": quick.url, "weight": 0.001}
    with relaying(*servers, prefix=0) as url:
        assert code(ask(url, stream=True)) == (504, "upstream_slow")
    assert (len(slow.asked), quick.asked) == (1, [])


def test_a_whole_answer_may_take_as_long_as_its_deadline(behind: Any, relaying: Any) -> None:
    async def thinks(asked: Asked, write: Write) -> None:
        await asyncio.sleep(0.3)
        await write(http(200, answer()))

    server = behind(thinks)
    with relaying({"url": server.url, "silence": 0.05}) as url:
        assert ask(url).status_code == 200
    assert len(server.asked) == 1


def test_one_long_stream_shows_that_a_server_is_well_again(behind: Any, relaying: Any) -> None:
    going, well = asyncio.Event(), False

    async def manner(asked: Asked, write: Write) -> None:
        if not well:
            raise ConnectionError
        if not asked.said.get("stream"):
            await write(http(200, answer()))
            return
        await write(HEAD + chunk(delta("one")))
        await going.wait()
        await write(chunk(DONE) + b"0\r\n\r\n")

    with relaying(behind(manner), retries=0, failures=1, rest=0.05, longest_wait=0.5) as url:
        assert ask(url).status_code == 502
        well = True
        with httpx2.stream("POST", f"{url}/v1/chat/completions", json={**ASK, "stream": True}) as reply:
            lines = reply.iter_lines()
            assert "one" in next(lines)
            assert ask(url).status_code == 200  # while the stream goes on
            server_loop_set(going)
            assert list(lines)


def test_whoever_hangs_up_pays_for_what_was_written_to_a_tool(behind: Any, relaying: Any) -> None:
    call = {"index": 0, "function": {"arguments": "x" * 400}}
    event = {"choices": [{"index": 0, "delta": {"tool_calls": [call]}}]}

    async def manner(asked: Asked, write: Write) -> None:
        await write(HEAD + chunk(b"data: " + json.dumps(event).encode() + b"\n\n"))
        await asked.gone.wait()

    server = behind(manner)
    with relaying(server) as url:
        with httpx2.stream("POST", f"{url}/v1/chat/completions", json={**ASK, "stream": True}) as reply:
            next(reply.iter_lines())
        until = time.monotonic() + 60
        while not (tokens := meter(url, 'smallworks_tokens_out_total{bundle="m"}')):
            assert time.monotonic() < until
        assert tokens == 100


def test_a_client_that_stops_reading_frees_its_place_at_its_deadline(behind: Any, relaying: Any) -> None:
    async def manner(asked: Asked, write: Write) -> None:
        await write(HEAD)
        while not asked.gone.is_set():
            await write(chunk(delta("x" * 100_000)))

    server = behind(manner)
    with relaying(server) as url:
        body = json.dumps({**ASK, "stream": True}).encode()
        host, port = url.removeprefix("http://").split(":")
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.connect((host, int(port)))
            head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: {host}\r\ncontent-length: {len(body)}\r\n"
            more = b"content-type: application/json\r\nx-request-deadline: 0.5\r\n\r\n"
            client.sendall(head.encode() + more + body)
            until = time.monotonic() + 60
            while not (server.asked and server.asked[0].gone.is_set()) and time.monotonic() < until:
                time.sleep(0.005)
            assert server.asked[0].gone.is_set()
            assert meter(url, 'smallworks_upstream_outstanding_tokens{bundle="m"') == 0
            assert meter(url, 'smallworks_held_tokens{bundle="m"') == 0


def test_a_pause_that_a_server_asks_for_is_kept_within_the_deadline(behind: Any, relaying: Any) -> None:
    first = True

    async def busy_once(asked: Asked, write: Write) -> None:
        nonlocal first
        await write(http(429, b"", retry_after="0.3") if first else http(200, answer()))
        first = False

    with relaying(behind(busy_once)) as url:
        began = time.monotonic()
        assert ask(url).status_code == 200
        assert time.monotonic() - began >= 0.3
    with relaying(behind(says(429, retry_after="40"))) as url:
        told = ask(url)
        assert code(told) == (429, "upstream_busy")
        assert 30 <= int(told.headers["retry-after"]) <= 40


@pytest.mark.parametrize("error", [b"", b'data: {"error": {"message": "sk-x"}}\n\n', b"data: junk\n\n"])
def test_a_stream_that_breaks_off_ends_with_an_error_event(behind: Any, relaying: Any, error: bytes) -> None:
    async def manner(asked: Asked, write: Write) -> None:
        await write(HEAD + chunk(delta("some")))
        await asyncio.sleep(0.02)
        if error:
            await write(chunk(error))
        raise ConnectionError

    server = behind(manner)
    with relaying(server) as url:
        told = ask(url, stream=True)
        last = [line for line in told.text.split("\n\n") if line]
        assert "some" in last[0]
        assert json.loads(last[-1][6:])["error"]["code"].startswith("upstream_")
        assert "sk-x" not in told.text
        assert meter(url, 'smallworks_upstream_outstanding_tokens{bundle="m"') == 0
    assert len(server.asked) == 1


def test_a_stream_without_an_end_of_its_own_is_not_taken_for_whole(behind: Any, relaying: Any) -> None:
    async def manner(asked: Asked, write: Write) -> None:
        await write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n" + delta("some"))
        raise ConnectionError

    with relaying(behind(manner), retries=0) as url:
        assert '"code":"upstream_down"' in ask(url, stream=True).text


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_hangs_up_frees_the_server_at_once(behind: Any, relaying: Any, stream: bool) -> None:
    async def manner(asked: Asked, write: Write) -> None:
        if asked.said.get("stream"):
            await write(HEAD + chunk(delta("some")))
        await asked.gone.wait()

    server = behind(manner)
    with relaying(server) as url:
        body = json.dumps({**ASK, "stream": stream}).encode()
        host, port = url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as client:
            head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: {host}\r\ncontent-length: {len(body)}\r\n"
            client.sendall(head.encode() + b"content-type: application/json\r\n\r\n" + body)
            while not server.asked:
                time.sleep(0.005)
            if stream:
                assert client.recv(10)
        until = time.monotonic() + 60
        while not server.asked[0].gone.is_set() and time.monotonic() < until:
            time.sleep(0.005)
        assert server.asked[0].gone.is_set()
        assert meter(url, 'smallworks_upstream_outstanding_tokens{bundle="m"') == 0
        assert meter(url, 'smallworks_upstream_breaker{bundle="m"') == 0


@pytest.mark.parametrize("stream", [False, True])
def test_a_deadline_ends_the_wait(behind: Any, relaying: Any, stream: bool) -> None:
    server = behind(hangs)
    with relaying(server) as url:
        head = {"x-request-deadline": "0.2"}
        told = CLIENT.post(f"{url}/v1/chat/completions", json={**ASK, "stream": stream}, headers=head)
        assert code(told) == (504, "deadline_exceeded")
        assert meter(url, 'smallworks_upstream_outstanding_tokens{bundle="m"') == 0


def test_a_connection_that_the_server_closed_at_rest_is_no_failure(behind: Any, relaying: Any) -> None:
    async def closes(asked: Asked, write: Write) -> None:
        await write(http(200, answer()))
        raise ConnectionError

    with relaying(behind(closes), retries=0) as url:
        assert [ask(url).status_code for _ in range(10)] == [200] * 10


def test_many_at_once_lose_nothing_while_one_server_fails(behind: Any, relaying: Any) -> None:
    turn = 0

    async def moody(asked: Asked, write: Write) -> None:
        nonlocal turn
        turn += 1
        await (dies if turn % 2 else says())(asked, write)

    with relaying(behind(moody), behind(says())) as url, ThreadPoolExecutor(8) as pool:
        assert {each.status_code for each in pool.map(lambda _: ask(url), range(60))} == {200}


def test_a_body_over_the_limit_goes_nowhere(behind: Any, relaying: Any) -> None:
    server = behind(says())
    with relaying(server) as url:
        assert ask(url, pad="x" * 2**21).status_code == 413
    assert server.asked == []


def test_done_alone_is_an_empty_stream(behind: Any, relaying: Any) -> None:
    async def manner(asked: Asked, write: Write) -> None:
        await write(HEAD + chunk(DONE) + b"0\r\n\r\n")

    with relaying(behind(manner)) as url:
        assert ask(url, stream=True).text.strip() == "data: [DONE]"
