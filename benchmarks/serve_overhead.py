"""The server adds little to what its engine takes.

Measured: the fake engine, which answers in microseconds, behind `smallworks serve` in a process of its own;
300 requests to /v1/chat/completions one after another over one kept-alive loopback connection. Against: a
bare starlette route on uvicorn that parses the same JSON and echoes it, likewise, in turns with ours.
Not covered: concurrent clients, TLS, streaming.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from benchmarks.claim import Finding, Say
from benchmarks.command import SMALLWORKS
from benchmarks.served import chat, fake_bundle, running
from benchmarks.timing import in_turns, median

UNIT = "ms"
GOAL = "≤ 3 ms p50 a request"
MOST = 3.0
REQUESTS = 300
TEXT = "How are you? " * 8
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
        serve = [*SMALLWORKS, "serve", str(fake_bundle(home)), "--port", "0"]
        with running(serve, home) as ours, running([sys.executable, "-c", ECHO], home) as bare:
            asks = {"ours": chat(ours.address, TEXT), "bare": chat(bare.address, TEXT)}
            taken = in_turns(asks, range(REQUESTS))
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
