"""What the serving claims share: a random Llama as bundles, and servers in processes of their own."""

from __future__ import annotations

import http.client
import json
import re
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from benchmarks.command import environment
from benchmarks.shared import read_csv, shared

WORDS = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "config.json")
INSTRUCTION = "Name the intent of the customer's message."
ASK_SECONDS = 300


@dataclass(frozen=True, kw_only=True)
class Process:
    """A server of one run: where it listens, and what it has taken of a core."""

    address: tuple[str, int]
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
            yield Process(address=(found[1], int(found[2])), handle=psutil.Process(process.pid))
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()


def labels() -> list[str]:
    names: list[str] = json.loads((shared("data/banking77") / "categories.json").read_text())
    return names


def texts() -> list[str]:
    """Banking77's test messages, in an order that mixes the intents."""
    found = [text for (text,) in read_csv(shared("data/banking77") / "test.csv", "text")]
    return [found[(at * 37) % len(found)] for at in range(len(found))]


def bundles(model: Path, gguf: Path, into: Path) -> tuple[Path, Path]:
    """A bundle that labels with codes and one that writes, both over one GGUF of `model`."""
    from smallworks import files
    from smallworks.bundle import Manifest, freeze
    from smallworks.prompt import Template, TextTokenizer, choose
    from smallworks.types import PromptSpec, Sampling

    draft = into / "draft"
    for name in WORDS:
        files.link_or_copy(model / name, draft / "tokenizer" / name)
    files.link_or_copy(gguf, draft / "model.gguf")
    choices = choose(labels(), TextTokenizer.load(model), Template.load(model))
    of: dict[str, Any] = {"engine": "llamacpp", "model": "model.gguf", "quantization": "q8_0"}
    spec = PromptSpec(style="chat", kind="classify", instruction=INSTRUCTION, choices=choices)
    labelling = Manifest(task="intents", kind="classify", candidate="random", prompt=spec, **of)
    free = PromptSpec(style="chat", kind="generate", instruction="Go on.")
    writing = Manifest(
        task="writer",
        kind="generate",
        candidate="random",
        prompt=free,
        sampling=Sampling(max_tokens=64),
        **of,
    )
    return freeze(draft, labelling, into=into).path, freeze(draft, writing, into=into).path


class Client:
    """One kept-alive connection."""

    def __init__(self, server: Process) -> None:
        self._connection = http.client.HTTPConnection(*server.address, timeout=ASK_SECONDS)

    def ask(self, path: str, body: Mapping[str, Any], **headers: str) -> bytes:
        """The answer's body, a stream's whole. Raises RuntimeError for any status but 200."""
        sent = {"Content-Type": "application/json", **headers}
        self._connection.request("POST", path, json.dumps(body), sent)
        answer = self._connection.getresponse()
        said = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{answer.status}: {said[:300]!r}")
        return said

    def close(self) -> None:
        self._connection.close()
