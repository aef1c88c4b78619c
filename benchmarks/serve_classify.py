"""Labels are served many times faster than by the tutorial's server or by llama.cpp's with a grammar.

Measured: a Llama of SmolLM2-135M's shape (random weights), Banking77's 77 labels in the prompt, 32 clients
that ask one text each over kept-alive connections; requests a second of `smallworks serve` over its q8_0
GGUF, label codes scored. All servers on one core, the clients on another, in turns, medians of the rounds.
Against: (a) the common FastAPI server of tutorials: transformers, a chat template, `generate` of as many
tokens as a label has, float32; (b) llama.cpp's own HTTP server (as xllamacpp ships it) on the same GGUF, chat
completions under a grammar of the 77 labels, four slots, prompt cache on. `per_cpu` are requests a second
of processor time, which busy neighbours move less. Not covered: accuracy (the weights are random, so that
the grammar has to overrule the model at every token, which costs llama.cpp more than with a tuned one), a
prompt without the list, GPUs.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks import random_llama
from benchmarks.claim import Finding, Say
from benchmarks.command import SMALLWORKS
from benchmarks.gateways import cores
from benchmarks.served import Client, Process, running
from benchmarks.served_llama import INSTRUCTION, bundles, labels, texts
from benchmarks.shared import shared

UNIT = "times the requests a second of llama.cpp's server with a grammar"
GOAL = "≥ 2 × llama.cpp's server with a grammar, ≥ 20 × the tutorial's server"
GRAMMAR, TUTORIAL = 2.0, 20.0
CLIENTS, ROUNDS = 32, 3
SHARE = {"ours": 64, "llama.cpp": 32, "tutorial": 4}
"""Requests a round: about as long for each."""
TUTORIAL_SERVER = """
import socket, sys, uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
from transformers import AutoModelForCausalLM, AutoTokenizer

path, tokens = sys.argv[1], int(sys.argv[2])
tokenizer = AutoTokenizer.from_pretrained(path)
model = AutoModelForCausalLM.from_pretrained(path)
app = FastAPI()

class Request(BaseModel):
    prompt: str

@app.post("/classify")
def classify(request: Request):
    messages = [{"role": "user", "content": request.prompt}]
    inputs = tokenizer.apply_chat_template(
        messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    outputs = model.generate(**inputs, max_new_tokens=tokens, do_sample=False)
    answer = tokenizer.decode(outputs[0][inputs["input_ids"].shape[1]:], skip_special_tokens=True)
    return {"label": answer}

listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
listener.bind(("127.0.0.1", 0))
listener.listen(2048)
sys.stderr.write(f"Serving at http://127.0.0.1:{listener.getsockname()[1]}\\n")
uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False)).run([listener])
"""
LLAMA_SERVER = """
import sys, time, xllamacpp
params = xllamacpp.CommonParams()
params.model.path, params.n_parallel, params.n_ctx = sys.argv[1], 4, 8192
params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
params.verbosity, params.port = -1, int(sys.argv[2])
server = xllamacpp.Server(params)
sys.stderr.write(f"Serving at {server.listening_address}\\n")
sys.stderr.flush()
time.sleep(1e6)
"""

Ask = Callable[[Client, str], None]


def measure(say: Say) -> Finding:
    from smallworks import compress

    with tempfile.TemporaryDirectory(prefix="smallworks-") as scratch, ExitStack() as stack:
        home = Path(scratch)
        model = random_llama.make(home / "model", shared("fixtures/tok-smollm2"))
        gguf = compress.quantize(model, home / "model.gguf", "q8_0")
        labelling, _ = bundles(model, gguf, home / "bundles")
        commands = {
            "ours": [*SMALLWORKS, "serve", str(labelling), "--port", "0"],
            "llama.cpp": [sys.executable, "-c", LLAMA_SERVER, str(gguf), "0"],
            "tutorial": [sys.executable, "-c", TUTORIAL_SERVER, str(model), str(_label_tokens(model))],
        }
        own, others = cores()
        stack.callback(os.sched_setaffinity, 0, os.sched_getaffinity(0))
        os.sched_setaffinity(0, {own})  # what is started from here on stays there
        servers = {name: stack.enter_context(running(cmd, home)) for name, cmd in commands.items()}
        os.sched_setaffinity(0, {others})
        rates, per_cpu = _rounds(servers, say)
    ours, against = rates["ours"], {name: rate for name, rate in rates.items() if name != "ours"}
    ratios = {name: round(ours / rate, 2) for name, rate in against.items()}
    by_cpu = {name: round(per_cpu["ours"] / per_cpu[name], 2) for name in against}
    say(f"requests a second {rates}, ratios {ratios}; by processor time {by_cpu}")
    return Finding(
        value=ratios["llama.cpp"],
        holds=ratios["llama.cpp"] >= GRAMMAR and ratios["tutorial"] >= TUTORIAL,
        against={"name": "llama.cpp's server with a grammar; the tutorial's server", "ratios": ratios},
        details={"rates": rates, "per_cpu": per_cpu, "ratios_per_cpu": by_cpu, "clients": CLIENTS},
    )


def _label_tokens(model: Path) -> int:
    """Tokens of a label in the mean: what the tutorial's server has to write."""
    from smallworks.prompt import TextTokenizer

    tokenizer = TextTokenizer.load(model)
    return round(statistics.mean(len(tokenizer.encode(label)) for label in labels()))


def _rounds(servers: Mapping[str, Process], say: Say) -> tuple[dict[str, float], dict[str, float]]:
    """Requests a second of wall and of processor time: medians."""
    asks, messages = _asks(), texts()
    for name, server in servers.items():
        _load(server, asks[name], messages[: min(8, SHARE[name])])
    wall: dict[str, list[float]] = {name: [] for name in servers}
    cpu: dict[str, list[float]] = {name: [] for name in servers}
    for number in range(ROUNDS):
        for name, server in servers.items():
            share = messages[100 * (number + 1) :][: SHARE[name]]
            before, start = server.cpu(), time.perf_counter()
            _load(server, asks[name], share)
            wall[name].append(len(share) / (time.perf_counter() - start))
            cpu[name].append(len(share) / (server.cpu() - before))
            say(
                f"round {number + 1}, {name}: {wall[name][-1]:.2f} a second, {cpu[name][-1]:.2f} by processor"
            )
    return _medians(wall), _medians(cpu)


def _medians(rates: Mapping[str, Sequence[float]]) -> dict[str, float]:
    return {name: round(statistics.median(each), 3) for name, each in rates.items()}


def _load(server: Process, ask: Ask, messages: Sequence[str]) -> None:
    """All messages by CLIENTS clients, each with a connection of its own."""
    clients = [Client(server.address) for _ in range(min(CLIENTS, len(messages)))]

    def client(at: int) -> None:
        for message in messages[at :: len(clients)]:
            ask(clients[at], message)

    with ThreadPoolExecutor(len(clients)) as pool:
        list(pool.map(client, range(len(clients))))
    for each in clients:
        each.close()


def _asks() -> dict[str, Ask]:
    from smallworks.prompt import render
    from smallworks.types import Choices, PromptSpec

    names = labels()
    spec = PromptSpec(
        style="chat", kind="classify", instruction=INSTRUCTION, choices=Choices(labels=tuple(names))
    )
    grammar = "root ::= " + " | ".join(json.dumps(name) for name in names)

    def prompt(text: str) -> str:
        return render.messages(spec, text)[0].content

    def ours(client: Client, text: str) -> None:
        said = json.loads(client.ask("/v1/classify", {"input": text}))
        assert said["data"][0]["label"] in names

    def llama(client: Client, text: str) -> None:
        body: dict[str, Any] = {"messages": [{"role": "user", "content": prompt(text)}], "grammar": grammar}
        said = json.loads(client.ask("/v1/chat/completions", {**body, "temperature": 0, "max_tokens": 32}))
        assert said["choices"][0]["message"]["content"] in names

    def tutorial(client: Client, text: str) -> None:
        assert "label" in json.loads(client.ask("/classify", {"prompt": prompt(text)}))

    return {"ours": ours, "llama.cpp": llama, "tutorial": tutorial}
