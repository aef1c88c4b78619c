"""Two servers in processes of their own, one killed under load: nobody notices."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any

import pytest

from .test_relay import ask, meter

SERVER = """
import asyncio, json

BODY = json.dumps({"choices": [{"message": {"content": "Hello"}}], "usage": {"prompt_tokens": 1}}).encode()
WHOLE = b"HTTP/1.1 200 OK\\r\\ncontent-length: %d\\r\\n\\r\\n%b" % (len(BODY), BODY)

async def serve(reader, writer):
    try:
        while True:
            head = (await reader.readuntil(b"\\r\\n\\r\\n")).lower()
            if b"content-length:" in head:
                await reader.readexactly(int(head.split(b"content-length:")[1].split(b"\\r")[0]))
            await asyncio.sleep(0.005)
            writer.write(WHOLE[:40])
            await asyncio.sleep(0.005)
            writer.write(WHOLE[40:])
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()

async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()

asyncio.run(main())
"""


@pytest.fixture()
def servers() -> Iterator[list[tuple[subprocess.Popen[str], str]]]:
    command = [sys.executable, "-c", SERVER]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    try:
        found = []
        for process in processes:
            assert process.stdout
            found.append((process, f"http://127.0.0.1:{int(process.stdout.readline())}/v1"))
        yield found
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def test_no_request_fails_when_one_of_two_servers_is_killed(
    servers: list[tuple[subprocess.Popen[str], str]], relaying: Any
) -> None:
    (killed, first), (_, second) = servers
    going, total, clients = Event(), 300, 8

    def one(number: int) -> int:
        if number == total // 3:
            killed.kill()
            going.set()
        return ask(url, user=str(number)).status_code

    with relaying({"url": first}, {"url": second}, prefix=0) as url, ThreadPoolExecutor(clients) as pool:
        statuses = list(pool.map(one, range(total)))
        assert going.is_set()
        assert statuses == [200] * total
        assert meter(url, "smallworks_upstream_failures_total") > 0
        assert meter(url, "smallworks_requests_total") == total
