"""Text is streamed by the server as fast as llama.cpp writes it.

Measured: a Llama of SmolLM2-135M's shape (random weights, q8_0); tokens a second of streamed chat
completions of 48 tokens from `smallworks serve`, by 1 client and by 8, one engine thread. Against: the same
GGUF in xllamacpp driven directly in a process of its own, the same prompt, sampling, cache types and four
slots, as many threads that read a streamed completion; in turns, medians of the rounds. `per_cpu` compares
tokens a second of processor time, which busy neighbours move less. Not covered: GPUs, longer prompts, more
than four slots.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from benchmarks import random_llama
from benchmarks.claim import Finding, Say
from benchmarks.command import SMALLWORKS
from benchmarks.served import Client, Process, compared, running
from benchmarks.served_llama import bundles
from benchmarks.shared import shared

UNIT = "times the tokens a second of xllamacpp driven directly, the lower of 1 and 8 streams"
GOAL = "≥ 0.95 × with 1 stream and with 8"
LEAST = 0.95
STREAMS, ROUNDS, TOKENS = (1, 8), 5, 48
DIRECT = """
import json, sys, threading
from http.server import BaseHTTPRequestHandler, HTTPServer
import xllamacpp

params = xllamacpp.CommonParams()
params.model.path, params.n_parallel, params.n_ctx = sys.argv[1], 4, 4 * 2048
params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
params.warmup, params.cache_ram_mib, params.verbosity = False, 0, -1
server = xllamacpp.Server(params)
server.handle_completions({"prompt": [0], "n_predict": 1})

def answer(request):
    server.handle_completions(request, lambda event: False)

class Run(BaseHTTPRequestHandler):
    # Not part of what is timed but for one exchange a round: it starts as many streams as it is told.
    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        threads = [threading.Thread(target=answer, args=(each,)) for each in asked]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass

door = HTTPServer(("127.0.0.1", 0), Run)
sys.stderr.write(f"Serving at http://127.0.0.1:{door.server_port}\\n")
sys.stderr.flush()
door.serve_forever()
"""


def measure(say: Say) -> Finding:
    from smallworks import compress

    with tempfile.TemporaryDirectory(prefix="smallworks-") as scratch, ExitStack() as stack:
        home = Path(scratch)
        model = random_llama.make(home / "model", shared("fixtures/tok-smollm2"))
        gguf = compress.quantize(model, home / "model.gguf", "q8_0")
        _, writing = bundles(model, gguf, home / "bundles")
        serve = [*SMALLWORKS, "serve", str(writing), "--port", "0"]
        servers = {
            "ours": stack.enter_context(running(serve, home)),
            "direct": stack.enter_context(running([sys.executable, "-c", DIRECT, str(gguf)], home)),
        }
        runs: dict[str, Callable[[int], None]] = {
            "ours": lambda streams: _ours(servers["ours"], streams),
            "direct": lambda streams: _direct(servers["direct"], streams, _prompt(model)),
        }
        found = {streams: _compare(servers, runs, streams, say) for streams in STREAMS}
    value = min(each["ratio"] for each in found.values())
    return Finding(
        value=value,
        holds=value >= LEAST,
        against={
            "name": "xllamacpp driven directly",
            "streams": {str(n): f["ratio"] for n, f in found.items()},
        },
        details={str(streams): each for streams, each in found.items()},
    )


def _compare(
    servers: dict[str, Process], runs: dict[str, Callable[[int], None]], streams: int, say: Say
) -> dict[str, float]:
    for name in servers:
        runs[name](streams)
    found = compared(servers, lambda name: runs[name](streams), streams * TOKENS, ROUNDS)
    say(f"{streams} streams: {found}")
    return found


def _ours(server: Process, streams: int) -> None:
    body = {
        "messages": [{"role": "user", "content": "x"}], "max_tokens": TOKENS, "temperature": 0, "stream": True
    }  # fmt: skip

    def one(_: int) -> None:
        client = Client(server.address)
        said = client.ask("/v1/chat/completions", {**body, "stream_options": {"include_usage": True}})
        client.close()
        if f'"completion_tokens":{TOKENS}'.encode() not in said.replace(b": ", b":"):
            raise RuntimeError(f"not {TOKENS} tokens: {said[-300:]!r}")

    with ThreadPoolExecutor(streams) as pool:
        list(pool.map(one, range(streams)))


def _direct(server: Process, streams: int, prompt: list[int]) -> None:
    greedy = {
        "samplers": ["top_k"],
        "top_k": 1,
        "temperature": 1.0,
        "n_probs": 1,
        "post_sampling_probs": True,
    }
    request = {"prompt": prompt, "n_predict": TOKENS, "cache_prompt": True, "stream": True, **greedy}
    client = Client(server.address)
    client.ask("/run", [request] * streams)  # type: ignore[arg-type]
    client.close()


def _prompt(model: Path) -> list[int]:
    """The ids that the bundle renders around the same message."""
    from smallworks.prompt import Template, TextTokenizer
    from smallworks.prompt.renderer import Renderer
    from smallworks.types import PromptSpec

    spec = PromptSpec(style="chat", kind="generate", instruction="Go on.")
    return list(Renderer(spec, Template.load(model), TextTokenizer.load(model)).prompt("x").ids)
