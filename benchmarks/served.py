"""Servers that claims ask: in processes of their own, or the starter in this one; and who asks them."""

from __future__ import annotations

import http.client
import json
import re
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from benchmarks.command import environment

TOKENS = 16
"""Tokens of an answer where nothing is said."""
ASK_SECONDS = 300
Address = tuple[str, int]


@dataclass(frozen=True, kw_only=True)
class Process:
    """A server of one run: where it listens, and what it has taken of a core."""

    address: Address
    popen: subprocess.Popen[str]
    handle: psutil.Process

    def cpu(self) -> float:
        """Seconds of processor time, its children's too."""
        own = [self.handle, *self.handle.children(recursive=True)]
        return float(sum(sum(process.cpu_times()[:2]) for process in own))

    def resident(self) -> int:
        return int(self.handle.memory_info().rss)


@contextmanager
def running(command: Sequence[str], home: Path, **more: str) -> Iterator[Process]:
    """A server that says its address on stderr; one engine thread, so that all have the same."""
    one = {"SMALLWORKS_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", **more}
    with (home / "server.log").open("a+") as log:
        process = subprocess.Popen(
            command, stderr=subprocess.PIPE, stdout=log, text=True, env=environment(home) | one
        )
        assert process.stderr
        try:
            said = ""
            for line in process.stderr:
                said += line
                if found := re.search(r"http://([\d.]+):(\d+)", line):
                    break
            else:
                raise RuntimeError(f"the server did not start: {said[-2000:]}")
            # What nobody reads must not stop a server that has much to say.
            threading.Thread(target=process.stderr.read, daemon=True).start()
            address = (found[1], int(found[2]))
            yield Process(address=address, popen=process, handle=psutil.Process(process.pid))
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()


def fake_bundle(folder: Path) -> Path:
    """A bundle whose engine is the fake one, which counts tokens and takes no time."""
    from smallworks.bundle import Manifest, freeze
    from smallworks.types import PromptSpec

    draft = folder / "draft"
    draft.mkdir()
    spec = PromptSpec(style="chat", kind="generate")
    manifest = Manifest(task="bench", kind="generate", candidate="fake", engine="fake", prompt=spec)
    return freeze(draft, manifest, into=folder / "bundles").path


class Client:
    """One kept-alive connection."""

    def __init__(self, address: Address) -> None:
        self._connection = http.client.HTTPConnection(*address, timeout=ASK_SECONDS)

    def ask(self, path: str, body: Mapping[str, Any] | bytes, **headers: str) -> bytes:
        """The answer's body, a stream's whole. Raises RuntimeError for any status but 200."""
        sent = {"Content-Type": "application/json", **headers}
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        self._connection.request("POST", path, raw, sent)
        answer = self._connection.getresponse()
        said = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{answer.status}: {said[:300]!r}")
        return said

    def close(self) -> None:
        self._connection.close()


def chat(address: Address, text: str) -> Callable[[object], bytes]:
    """Asks the model 'bench' the same each time, over a connection that stays open."""
    client = Client(address)
    body = json.dumps({"model": "bench", "messages": [{"role": "user", "content": text}]}).encode()
    return lambda _: client.ask("/v1/chat/completions", body)


def compared(
    servers: Mapping[str, Process], ask: Callable[[str], None], tokens: int, rounds: int
) -> dict[str, float]:
    """Tokens a second by name, in turns, and the median ratios of the first server to the second.

    `ask` has the named server write `tokens`. By the clock, and by processor time: neighbouring rounds are
    compared, which busy neighbours move less.
    """
    first, second = servers
    wall: dict[str, list[float]] = {name: [] for name in servers}
    cpu: dict[str, list[float]] = {name: [] for name in servers}
    for number in range(rounds):
        for name in (first, second) if number % 2 else (second, first):
            before, start = servers[name].cpu(), time.perf_counter()
            ask(name)
            wall[name].append(tokens / (time.perf_counter() - start))
            cpu[name].append(tokens / (servers[name].cpu() - before))
    ratio, per_cpu = (
        statistics.median(a / b for a, b in zip(each[first], each[second], strict=True))
        for each in (wall, cpu)
    )
    rates = {name: round(statistics.median(each), 1) for name, each in wall.items()}
    return {"ratio": round(ratio, 3), "ratio_per_cpu": round(per_cpu, 3), **rates}


@contextmanager
def starter_served() -> Iterator[str]:
    """The address of a server with the starter on llama.cpp, called 'starter'."""
    from smallworks import starter
    from smallworks.bundle.manifest import Manifest
    from smallworks.compress.gguf import convert
    from smallworks.engines.llamacpp import LlamaCpp
    from smallworks.engines.predictor import Predictor
    from smallworks.prompt import Template
    from smallworks.prompt import tokenizer as tokenizers
    from smallworks.prompt.renderer import Renderer
    from smallworks.seams import silent
    from smallworks.server import background, create_app
    from smallworks.types import PromptSpec, Sampling

    with tempfile.TemporaryDirectory(prefix="smallworks-") as scratch:
        path = convert(starter.MODEL, Path(scratch) / "model.gguf", "f32", silent)
        spec = PromptSpec(style="chat", kind="generate")
        renderer = Renderer(spec, Template.load(starter.MODEL), tokenizers.load(starter.MODEL))
        manifest = Manifest(
            task="starter",
            kind="generate",
            candidate="starter",
            engine="llamacpp",
            prompt=spec,
            sampling=Sampling(max_tokens=TOKENS, stop_ids=renderer.stop_ids),
        )
        model = LlamaCpp(path, threads=1)
        with (
            Predictor(manifest=manifest, model=model, renderer=renderer) as predictor,
            background(create_app({"starter": predictor}, default="starter")) as url,
        ):
            yield url
