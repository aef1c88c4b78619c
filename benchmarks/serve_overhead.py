"""The server adds little to what its engine takes.

Measured: the fake engine, which answers in microseconds, behind `smallworks serve` in a process of its own;
300 requests to /v1/chat/completions one after another over one kept-alive loopback connection. Against: a
bare starlette route on uvicorn that parses the same JSON and echoes it, likewise, in turns with ours.
Not covered: concurrent clients, TLS, streaming.
"""

from __future__ import annotations

import http.client
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.claim import Finding, Say
from benchmarks.command import SMALLWORKS, environment
from benchmarks.timing import in_turns, median

UNIT = "ms"
GOAL = "≤ 3 ms p50 a request"
MOST = 3.0
REQUESTS = 300
BODY = json.dumps({"model": "bench", "messages": [{"role": "user", "content": "How are you? " * 8}]})
ECHO = """
import socket, sys, uvicorn
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

async def echo(request):
    return JSONResponse(await request.json())

listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
listener.bind(("127.0.0.1", 0))
listener.listen()
sys.stderr.write(f"Serving at http://127.0.0.1:{listener.getsockname()[1]}\\n")
app = Starlette(routes=[Route("/v1/chat/completions", echo, methods=["POST"])])
uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False)).run([listener])
"""


def measure(say: Say) -> Finding:
    with tempfile.TemporaryDirectory(prefix="smallworks-") as scratch:
        home = Path(scratch)
        serve = [*SMALLWORKS, "serve", str(_bundle(home)), "--port", "0"]
        with _server(serve, home) as ours, _server([sys.executable, "-c", ECHO], home) as bare:
            taken = in_turns({"ours": _client(ours), "bare": _client(bare)}, range(REQUESTS))
    p50 = {name: round(median(ms), 3) for name, ms in taken.items()}
    p95 = {name: round(sorted(ms)[int(0.95 * len(ms))], 3) for name, ms in taken.items()}
    say(f"p50 {p50}, p95 {p95}")
    return Finding(
        value=p50["ours"],
        holds=p50["ours"] <= MOST,
        against={
            "name": "bare starlette echo on uvicorn",
            "ms": p50["bare"],
            "ratio": round(p50["ours"] / p50["bare"], 2),
        },
        details={"p50": p50, "p95": p95, "requests": REQUESTS},
    )


def _bundle(folder: Path) -> Path:
    """A bundle whose engine is the fake one."""
    from smallworks.bundle import Manifest, freeze
    from smallworks.types import PromptSpec

    draft = folder / "draft"
    draft.mkdir()
    spec = PromptSpec(style="chat", kind="generate")
    manifest = Manifest(task="bench", kind="generate", candidate="fake", engine="fake", prompt=spec)
    return freeze(draft, manifest, into=folder / "bundles").path


@contextmanager
def _server(command: list[str], home: Path) -> Iterator[tuple[str, int]]:
    """A server in a process of its own; its address is what it says on stderr."""
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment(home)) as process:
        assert process.stderr
        try:
            said = process.stderr.readline()
            found = re.search(r"http://([\d.]+):(\d+)", said)
            if not found:
                raise RuntimeError(f"the server did not start: {said}{process.stderr.read()}")
            yield found[1], int(found[2])
        finally:
            process.terminate()


def _client(address: tuple[str, int]) -> Callable[[object], None]:
    """Sends one request over a connection that stays open."""
    connection = http.client.HTTPConnection(*address, timeout=30)

    def ask(_: object) -> None:
        connection.request("POST", "/v1/chat/completions", BODY, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        said = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{answer.status}: {said!r}")

    return ask
