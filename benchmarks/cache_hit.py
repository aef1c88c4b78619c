"""An answer from the cache takes half a millisecond, and many times fewer of them fit through LiteLLM.

Measured: `smallworks serve` with `[cache]` over a bundle on the fake engine, one chat request asked again and
again: sequential p50 over one kept-alive loopback connection, in turns with the others, and answers a second
over 32 and 64 connections. Against: LiteLLM's proxy with its in-memory cache before a mock upstream, and a
bare starlette route on uvicorn that echoes the body; one process each. LiteLLM comes from the registry into
an environment of its own, as for relay_throughput. Each server is loaded alone, in two rounds; its CPU time
an answer is told too. The client shares the machine with them. Not covered: TLS, keys, stores behind memory.
"""

from __future__ import annotations

import json
import os
import re
import selectors
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.claim import Finding, Say
from benchmarks.command import SMALLWORKS, environment
from benchmarks.gateways import free_port, programs
from benchmarks.serve_overhead import ECHO
from benchmarks.served import Address, Process, fake_bundle, running
from benchmarks.timing import in_turns

UNIT = "ms"
GOAL = "p50 ≤ 0.5 ms a hit; ≥ 30 times LiteLLM's hits a second"
MOST_MS, LEAST_RATIO = 0.5, 30.0
ASKED = 200
LOADED = {"ours": 4000, "bare": 4000, "litellm": 400}
CONNECTIONS = (32, 64)
ROUNDS = 2
START_SECONDS = 400
BODY = json.dumps(
    {"model": "bench", "temperature": 0, "messages": [{"role": "user", "content": "How are you? " * 8}]}
).encode()
HEAD = (
    "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    f"Authorization: Bearer none\r\nContent-Length: {len(BODY)}\r\n\r\n"
)
REQUEST = HEAD.encode() + BODY
LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
UPSTREAM = ECHO.replace(
    "await request.json()",
    json.dumps(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1,
            "model": "bench",
            "choices": [
                {
                    "index": 0,
                    "finish_reason": "stop",
                    "message": {"role": "assistant", "content": "Well. " * 32},
                }
            ],
            "usage": {"prompt_tokens": 104, "completion_tokens": 64, "total_tokens": 168},
        }
    ),
)
LITELLM = """
model_list:
  - model_name: bench
    litellm_params: {{model: openai/bench, api_base: "http://127.0.0.1:{port}/v1", api_key: none}}
litellm_settings: {{cache: true, cache_params: {{type: local}}, telemetry: false}}
general_settings: {{dangerously_permit_weak_or_unset_master_key: true}}
"""
"""Without keys, as ours: it does not start unless that is said."""


def measure(say: Say) -> Finding:
    with tempfile.TemporaryDirectory(prefix="smallworks-") as scratch, ExitStack() as stack:
        home = Path(scratch)
        servers = {name: stack.enter_context(each) for name, each in _servers(home).items()}
        try:
            servers["litellm"] = stack.enter_context(_litellm(home, say))
        except (OSError, subprocess.SubprocessError, RuntimeError) as error:
            say(f"LiteLLM is left out: {str(error)[-1000:]}")
        taken = in_turns({name: _one(server.address) for name, server in servers.items()}, range(ASKED))
        p50 = {name: round(median(ms), 3) for name, ms in taken.items()}
        say(f"p50 {p50} ms")
        rates, cpu = {}, {}
        for name, server in servers.items():
            before = server.cpu()
            rates[name] = _rates(server.address, LOADED[name])
            cpu[name] = round(1000 * (server.cpu() - before) / (LOADED[name] * ROUNDS * len(CONNECTIONS)), 3)
        say(f"answers a second {rates}, CPU ms an answer {cpu}")
    best = {name: max(each.values()) for name, each in rates.items()}
    ratio = round(best["ours"] / best["litellm"], 1) if "litellm" in best else None
    return Finding(
        value=p50["ours"],
        holds=p50["ours"] <= MOST_MS and (ratio is None or ratio >= LEAST_RATIO),
        against={
            "name": "LiteLLM proxy, in-memory cache" if ratio else "bare starlette echo (LiteLLM left out)",
            "ms": p50.get("litellm", p50["bare"]),
            "times_its_answers_a_second": ratio,
            "times_its_cpu": round(cpu["litellm"] / cpu["ours"], 1) if ratio else None,
        },
        details={"p50": p50, "answers_a_second": rates, "cpu_ms": cpu, "load_average": os.getloadavg()[0]},
    )


def _servers(home: Path) -> dict[str, Any]:
    config = home / "serve.toml"
    config.write_text(f'bundles = ["{fake_bundle(home)}"]\nport = 0\n[cache]\n', encoding="utf-8")
    ours = [*SMALLWORKS, "serve", "--config", str(config)]
    return {"ours": running(ours, home), "bare": running([sys.executable, "-c", ECHO], home)}


@contextmanager
def _litellm(home: Path, say: Say) -> Iterator[Process]:
    """LiteLLM's proxy before a mock upstream, once it answers."""
    import psutil

    say("LiteLLM is installed where it is not yet, and started …")
    program, port = programs("litellm", "litellm[proxy]") / "litellm", free_port()
    config, told = home / "litellm.yaml", home / "litellm.log"
    with running([sys.executable, "-c", UPSTREAM], home) as upstream, told.open("w") as log:
        config.write_text(LITELLM.format(port=upstream.address[1]), encoding="utf-8")
        command = [str(program), "--config", str(config), "--host", "127.0.0.1", "--port", str(port)]
        quiet = {**environment(home), "LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR"}
        with subprocess.Popen(command, env=quiet, stdout=log, stderr=log, text=True) as process:
            try:
                address = ("127.0.0.1", port)
                _wait(address, process, told)
                yield Process(address=address, popen=process, handle=psutil.Process(process.pid))
            finally:
                process.terminate()


def _wait(address: Address, process: subprocess.Popen[str], told: Path) -> None:
    """Until it answers. Raises RuntimeError with the end of what it said."""
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until and process.poll() is None:
        try:
            _one(address)(None)
            return
        except (OSError, RuntimeError):
            time.sleep(0.5)
    raise RuntimeError(f"it did not start: {told.read_text()[-1000:]}")


def _one(address: Address) -> Callable[[object], None]:
    connection = _connected(address)
    connection.settimeout(60)

    def ask(_: object) -> None:
        connection.sendall(REQUEST)
        came = b""
        while not _is_whole(came):
            data = connection.recv(65536)
            if not data:
                raise RuntimeError(f"the server hung up after {came[:200]!r}")
            came += data
        _check(came)

    return ask


def _rates(address: Address, count: int) -> dict[str, float]:
    """Answers a second by connections: the better of the rounds."""
    return {
        f"{connections}": round(max(_loaded(address, count, connections) for _ in range(ROUNDS)), 1)
        for connections in CONNECTIONS
    }


def _loaded(address: Address, count: int, connections: int) -> float:
    """`count` answers over so many connections, each asking again as soon as it is answered."""
    with selectors.DefaultSelector() as selector, ExitStack() as stack:
        came: dict[socket.socket, bytes] = {}
        for _ in range(connections):
            connection = stack.enter_context(_connected(address))
            selector.register(connection, selectors.EVENT_READ)
            came[connection] = b""
        start, done = time.perf_counter(), 0
        for connection in came:
            connection.sendall(REQUEST)
        while done < count:
            ready = selector.select(timeout=60)
            if not ready:
                raise RuntimeError("no answer for a minute")
            for key, _ in ready:
                connection = key.fileobj  # type: ignore[assignment]
                came[connection] += connection.recv(65536)
                if _is_whole(came[connection]):
                    done += 1
                    came[connection] = b""
                    connection.sendall(REQUEST)
        return done / (time.perf_counter() - start)


def _connected(address: Address) -> socket.socket:
    connection = socket.create_connection(address, timeout=60)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def _is_whole(came: bytes) -> bool:
    head, end, body = came.partition(b"\r\n\r\n")
    length = LENGTH.search(head) if end else None
    return length is not None and len(body) >= int(length[1])


def _check(came: bytes) -> None:
    if not came.startswith(b"HTTP/1.1 200"):
        raise RuntimeError(f"an answer that is none: {came[:200]!r}")
