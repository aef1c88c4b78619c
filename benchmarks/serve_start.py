"""`smallworks serve` of the starter answers /healthz soon after it is started.

Measured: wall time from the start of the process to the first 200 of /healthz, the bundle checked byte by
byte and proven on four golden rows by then; medians of 7 starts in turns with its peer, bytecode compiled
beforehand as an installation has it. Against: `python -c "import fastapi, uvicorn"`, the floor of every
server on these libraries. Not covered: a cold disk cache, larger models.
"""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.claim import Finding, Say
from benchmarks.command import SMALLWORKS, environment
from benchmarks.timing import in_turns, medians

UNIT = "s"
GOAL = "≤ 1.5 s from start to /healthz"
MOST = 1.5
ROUNDS = 7
LONGEST = 60.0
"""Seconds after which a start has failed."""
FLOOR = 'python -c "import fastapi, uvicorn"'


def measure(say: Say) -> Finding:
    with tempfile.TemporaryDirectory(prefix="smallworks-") as scratch:
        home = Path(scratch)
        surroundings = environment(home) | {"PYTHONPYCACHEPREFIX": str(home / "bytecode")}
        surroundings.pop("PYTHONDONTWRITEBYTECODE", None)
        bundle = _bundle(home)
        subjects = {
            "serve": lambda _: _start(bundle, surroundings),
            FLOOR: lambda _: _run([sys.executable, "-c", "import fastapi, uvicorn"], surroundings),
            "python -c pass": lambda _: _run([sys.executable, "-c", "pass"], surroundings),
        }
        seconds = {
            name: round(ms / 1000, 3) for name, ms in medians(in_turns(subjects, range(ROUNDS))).items()
        }
    say(f"{seconds}, load average {os.getloadavg()[0]:.1f}")
    return Finding(
        value=seconds["serve"],
        holds=seconds["serve"] <= MOST,
        against={"name": FLOOR, "s": seconds[FLOOR], "ratio": round(seconds["serve"] / seconds[FLOOR], 2)},
        details={"s": seconds, "starts": ROUNDS, "load_average": os.getloadavg()[0]},
    )


def _bundle(folder: Path) -> Path:
    """The starter with three labels, and golden rows by its own engine."""
    from smallworks import compress, files, starter
    from smallworks.bundle import Manifest, freeze
    from smallworks.bundle.golden import write
    from smallworks.engines.base import resolve, words_of
    from smallworks.engines.opening import open_bundle
    from smallworks.prompt.codes import choose
    from smallworks.types import PromptSpec

    base, draft = resolve(None), folder / "draft"
    words = words_of(base)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "config.json"):
        files.link_or_copy(starter.MODEL / name, draft / "tokenizer" / name)
    spec = PromptSpec(
        style="chat",
        kind="classify",
        instruction="Name the kind of the ticket.",
        choices=choose(("bug", "feature", "question"), words.tokenizer, words.template),
    )
    manifest = Manifest(
        task="tickets", kind="classify", candidate="lm", engine="llamacpp", prompt=spec, model="model.gguf"
    )
    compress.quantize(starter.MODEL, draft / "model.gguf", "q8_0")
    bare = freeze(draft, manifest, into=folder / "bare")
    with open_bundle(bare) as predictor:
        texts = ("The export crashes.", "Please add a dark mode.", "How do I log in?", "It froze again.")
        write(draft, [predictor.golden({"input": text}) for text in texts])
    return freeze(draft, manifest, into=folder / "bundles").path


def _start(bundle: Path, surroundings: dict[str, str]) -> None:
    """Start the server, and end it once it has answered. Raises RuntimeError for one that does not."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [*SMALLWORKS, "serve", str(bundle), "--port", str(port)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=surroundings)
    try:
        until = time.monotonic() + LONGEST
        while not _answers(port):
            if process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"the server did not start: {process.communicate()[1]}")
            time.sleep(0.005)
    finally:
        process.kill()
        process.communicate()


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=LONGEST)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def _run(command: list[str], surroundings: dict[str, str]) -> None:
    subprocess.run(command, check=True, env=surroundings)
