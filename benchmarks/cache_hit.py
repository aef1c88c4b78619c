"""An answer from the cache takes half a millisecond, and many times fewer of them fit through LiteLLM.

Measured: `smallworks serve` with `[cache]` over a bundle on the fake engine, one chat request asked again and
again: sequential p50 over one kept-alive loopback connection, in turns with the others, and answers a second
over 32 and 64 connections. Against: LiteLLM's proxy with its in-memory cache before a mock upstream, and a
bare starlette route on uvicorn that echoes the body; one process each. LiteLLM comes from the registry into
an environment of its own (or SMALLWORKS_LITELLM names one that has it). Each server is loaded alone, in two
rounds; its CPU time an answer is told too. The client shares the machine with them. Not covered: TLS, keys,
stores behind memory.
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
from benchmarks.serve_overhead import ECHO, _bundle, _server
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
"""
Address = tuple[str, int]


def measure(say: Say) -> Finding:
    with tempfile.TemporaryDirectory(prefix="smallworks-") as scratch, ExitStack() as stack:
        home = Path(scratch)
        servers = {name: stack.enter_context(each) for name, each in _servers(home).items()}
        try:
            servers["litellm"] = stack.enter_context(_litellm(home, say))
        except (OSError, subprocess.SubprocessError, RuntimeError) as error:
            say(f"LiteLLM is left out: {str(error)[-200:]}")
        taken = in_turns({name: _one(at) for name, at in servers.items()}, range(ASKED))
        p50 = {name: round(median(ms), 3) for name, ms in taken.items()}
        say(f"p50 {p50} ms")
        rates, cpu = {}, {}
        for name, at in servers.items():
            before = _cpu(at)
            rates[name] = _rates(at, LOADED[name])
            cpu[name] = round(1000 * (_cpu(at) - before) / (LOADED[name] * ROUNDS * len(CONNECTIONS)), 3)
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
        },
        details={"p50": p50, "answers_a_second": rates, "cpu_ms": cpu, "load_average": os.getloadavg()[0]},
    )


def _servers(home: Path) -> dict[str, Any]:
    config = home / "serve.toml"
    config.write_text(f'bundles = ["{_bundle(home)}"]\nport = 0\n[cache]\n', encoding="utf-8")
    ours = [*SMALLWORKS, "serve", "--config", str(config)]
    return {"ours": _server(ours, home), "bare": _server([sys.executable, "-c", ECHO], home)}


@contextmanager
def _litellm(home: Path, say: Say) -> Iterator[Address]:
    """LiteLLM's proxy before a mock upstream, once it answers."""
    program = _installed(home, say)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    config = home / "litellm.yaml"
    with _server([sys.executable, "-c", UPSTREAM], home) as upstream:
        config.write_text(LITELLM.format(port=upstream[1]), encoding="utf-8")
        command = [str(program), "--config", str(config), "--host", "127.0.0.1", "--port", str(port)]
        quiet = {**environment(home), "LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR"}
        with subprocess.Popen(
            command, env=quiet, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as process:
            try:
                _wait(port, process)
                yield "127.0.0.1", port
            finally:
                process.terminate()


def _installed(home: Path, say: Say) -> Path:
    """Its program; raises CalledProcessError where the registry has none for this Python."""
    named = os.environ.get("SMALLWORKS_LITELLM")
    folder = Path(named) if named else home / "litellm"
    program = folder / "bin" / "litellm"
    if not program.exists():
        say("Installing LiteLLM into an environment of its own …")
        subprocess.run([sys.executable, "-m", "venv", folder], check=True, timeout=120)
        pip = [folder / "bin" / "python", "-m", "pip", "install", "-q", "litellm[proxy]"]
        subprocess.run(pip, check=True, timeout=900, capture_output=True)
    return program


def _wait(port: int, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            if process.poll() is not None:
                break
            time.sleep(0.25)
    raise RuntimeError("it did not start")


def _one(address: Address) -> Callable[[object], None]:
    connection = _connected(address)
    connection.settimeout(60)

    def ask(_: object) -> None:
        connection.sendall(REQUEST)
        came = b""
        while not _is_whole(came):
            came += connection.recv(65536)
        _check(came)

    return ask


def _cpu(address: Address) -> float:
    """CPU seconds of the process that listens there: a busy machine changes them least."""
    import psutil

    for child in psutil.Process().children(recursive=True):
        if any(c.laddr.port == address[1] and c.status == "LISTEN" for c in child.net_connections()):
            return sum(child.cpu_times()[:2])
    raise RuntimeError(f"nobody listens on port {address[1]}")


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
