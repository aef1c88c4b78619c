"""A connection by itself: any framing at any cut gives the same answer, and nothing else is taken for one."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smallworks.server.upstream.failed import Failed
from smallworks.server.upstream.wire import HIGH_WATER, MAX_HEAD, Connection


class Transport:
    """Takes what is written; notes pauses and the end."""

    def __init__(self) -> None:
        self.written, self.aborted, self.reading = b"", False, True

    def write(self, data: bytes) -> None:
        self.written += data

    def abort(self) -> None:
        self.aborted = True

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def get_extra_info(self, name: str) -> None:
        return None


def connected(limit: int = 10_000, patience: float = 60.0) -> tuple[Connection, Transport]:
    transport: Any = Transport()
    connection = Connection(asyncio.get_running_loop(), lambda _: None)
    connection.connection_made(transport)
    connection.ask(b"GET / HTTP/1.1\r\n\r\n", limit=limit, patience=patience)
    return connection, transport


def fed(*pieces: bytes, lost: bool = False, limit: int = 10_000) -> tuple[int, bytes, bool]:
    """Status, body and whether the connection can be used again. Raises Failed."""

    async def run() -> tuple[int, bytes, bool]:
        connection, _ = connected(limit)
        for piece in filter(None, pieces):
            connection.data_received(piece)
        if lost:
            connection.connection_lost(None)
        return connection.status, await connection.whole(), connection.reusable

    return asyncio.run(run())


@given(st.binary(max_size=300), st.lists(st.integers(1, 50), max_size=8), st.booleans(), st.data())
def test_a_body_is_the_same_however_it_is_framed_and_cut(
    body: bytes, sizes: list[int], chunked: bool, data: st.DataObject
) -> None:
    if chunked:
        parts, rest = [], body
        for size in sizes:
            part, rest = rest[:size], rest[size:]
            parts += [b"%x\r\n%b\r\n" % (len(part), part)] if part else []
        parts += [b"%x\r\n%b\r\n" % (len(rest), rest)] if rest else []
        raw = b"HTTP/1.1 201 X\r\ntransfer-encoding: chunked\r\n\r\n" + b"".join(parts) + b"0\r\n\r\n"
    else:
        raw = b"HTTP/1.1 201 X\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    cut = data.draw(st.integers(0, len(raw)))
    assert fed(raw[:cut], raw[cut:]) == (201, body, True)


@given(st.binary(min_size=1, max_size=200))
def test_garbage_never_passes_for_an_answer(raw: bytes) -> None:
    with pytest.raises(Failed):
        fed(raw, lost=True)


@pytest.mark.parametrize("end", [1, 20, 40, 60])
def test_an_answer_that_breaks_off_is_broken(end: int) -> None:
    raw = b"HTTP/1.1 200 OK\r\ncontent-length: 30\r\n\r\n" + b"x" * 29
    with pytest.raises(Failed) as failed:
        fed(raw[:end], lost=True)
    assert failed.value.cause == "broken"


def test_an_answer_without_a_length_ends_with_its_connection() -> None:
    assert fed(b"HTTP/1.1 200 OK\r\n\r\nab", lost=True) == (200, b"ab", False)
    assert fed(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 1\r\n\r\na") == (200, b"a", False)


def test_what_is_announced_first_is_passed_over() -> None:
    raw = b"HTTP/1.1 100 Continue\r\nx: y\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\na"
    assert fed(raw) == (200, b"a", True)


def test_a_second_answer_behind_the_first_is_nobodys() -> None:
    one = b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n"
    assert fed(one + b"a" + one + b"b") == (200, b"a", False)


def test_an_answer_that_nobody_asked_for_ends_the_connection() -> None:
    async def run() -> None:
        connection, transport = connected()
        raw = b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\na"
        connection.data_received(raw)
        assert await connection.whole() == b"a"
        connection.data_received(raw)
        assert transport.aborted
        assert not connection.reusable

    asyncio.run(run())


@pytest.mark.parametrize(
    ("raw", "cause"),
    [
        (b"HTTP/1.1 200 OK\r\nx: " + b"y" * MAX_HEAD, "garbage"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n" + b"x" * 11, "too_large"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", "garbage"),
        (b"HTTP/1.1 200 OK\r\nx: a\r\n b\r\n\r\n", "garbage"),
    ],
)
def test_what_is_too_large_or_malformed_ends_it(raw: bytes, cause: str) -> None:
    with pytest.raises(Failed) as failed:
        fed(raw, limit=10)
    assert failed.value.cause == cause


def test_a_stream_that_nobody_takes_is_left_to_wait() -> None:
    async def run() -> None:
        connection, transport = connected(limit=2**30)
        connection.data_received(b"HTTP/1.1 200 OK\r\ncontent-length: 999999999\r\n\r\nx")
        assert await connection.take() == b"x"
        connection.data_received(b"x" * (HIGH_WATER + 1))
        assert not transport.reading
        assert len(await connection.take()) == HIGH_WATER + 1
        assert transport.reading

    asyncio.run(run())


def test_silence_is_measured_from_the_last_byte() -> None:
    async def run() -> None:
        connection, _ = connected(patience=0.05)
        connection.data_received(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\na")
        with pytest.raises(Failed) as failed:
            await connection.whole()
        assert failed.value.cause == "timeout"

    asyncio.run(run())


def test_an_answer_under_way_may_be_bounded_more_closely() -> None:
    async def run(bound: int, pieces: int) -> bytes:
        connection, _ = connected(10_000)
        connection.data_received(b"HTTP/1.1 400 X\r\ncontent-length: 300\r\n\r\n" + b"x" * 100)
        connection.bound(bound)
        for _ in range(pieces):
            connection.data_received(b"x" * 100)
        return await connection.whole()

    assert len(asyncio.run(run(300, 2))) == 300
    for bound in (50, 150):
        with pytest.raises(Failed) as failed:
            asyncio.run(run(bound, 1))
        assert failed.value.cause == "too_large"
