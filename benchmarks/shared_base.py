"""Four bundles tuned on one base take little more memory than one, where each keeps its adapter beside it.

Measured: a Llama of SmolLM2-135M's shape (random weights, q8_0) with four random adapters of rank 16 on every
linear layer, each a bundle (`adapter-q8_0`), served by one `smallworks serve`, one engine thread: resident
memory once each has answered; tokens a second of answers of 48 tokens, by 1 client, by 4 that ask one bundle,
and by 4 that ask a bundle each. Against: the same four as merged bundles (`q8_0`; a file of the same size
stands for each), which is what every bundle was before. `per_cpu` compares tokens a second of processor time.
Not covered: GPUs, larger models, whether the adapters answer rightly (tests/server/test_bases.py does).
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import random_llama
from benchmarks.claim import Finding, Say
from benchmarks.command import SMALLWORKS
from benchmarks.served import Client, Process, compared, running
from benchmarks.served_llama import WORDS
from benchmarks.shared import shared

UNIT = "times the resident memory of four merged bundles"
GOAL = "≤ 0.5 ×"
MOST = 0.5
BUNDLES, RANK, ROUNDS, TOKENS = 4, 16, 3, 48
ASKED: dict[str, Sequence[int]] = {"1 client": (0,), "4 of one": (0,) * 4, "4 of each": tuple(range(4))}
"""Which bundle each client asks."""


def measure(say: Say) -> Finding:
    from smallworks import compress

    with tempfile.TemporaryDirectory(prefix="smallworks-") as scratch, ExitStack() as stack:
        home = Path(scratch)
        model = random_llama.make(home / "model", shared("fixtures/tok-smollm2"))
        gguf = compress.quantize(model, home / "model.gguf", "q8_0")
        servers: dict[str, Process] = {}
        for name in ("shared", "merged"):
            bundles = [_bundle(home, model, gguf, at, shares=name == "shared") for at in range(BUNDLES)]
            serve = [*SMALLWORKS, "serve", *map(str, bundles), "--port", "0"]
            servers[name] = stack.enter_context(running(serve, home))
        for server in servers.values():
            _ask(server, ASKED["4 of each"])
        held = {name: server.resident() for name, server in servers.items()}
        say(f"resident: {', '.join(f'{name} {size / 1e6:,.0f} MB' for name, size in held.items())}")
        speeds = {what: _compare(servers, which, what, say) for what, which in ASKED.items()}
    value = held["shared"] / held["merged"]
    return Finding(
        value=round(value, 3),
        holds=value <= MOST,
        against={"name": "four merged bundles in one server", "resident_mb": held["merged"] // 10**6},
        details={"resident_mb": held["shared"] // 10**6, "speed": speeds},
    )


def _compare(servers: dict[str, Process], which: Sequence[int], what: str, say: Say) -> dict[str, float]:
    found = compared(servers, lambda name: _ask(servers[name], which), len(which) * TOKENS, ROUNDS)
    say(f"{what}: {found}")
    return found


def _ask(server: Process, which: Sequence[int]) -> None:
    def one(at: int) -> None:
        client = Client(server.address)
        words = [{"role": "user", "content": "x"}]
        client.ask("/v1/chat/completions", {"model": f"task{at}", "messages": words, "max_tokens": TOKENS})
        client.close()

    with ThreadPoolExecutor(len(which)) as pool:
        list(pool.map(one, which))


def _bundle(home: Path, model: Path, gguf: Path, at: int, *, shares: bool) -> Path:
    """A bundle that writes, over the base and an adapter, or over a file of its own."""
    from smallworks import compress, files
    from smallworks.bundle import Manifest, freeze
    from smallworks.types import PromptSpec, Sampling

    draft = home / f"draft-{at}-{shares}"
    for name in WORDS:
        if (model / name).is_file():
            files.link_or_copy(model / name, draft / "tokenizer" / name)
    kind: dict[str, Any] = {"quantization": "q8_0"}
    if shares:
        files.link_or_copy(gguf, draft / "model.gguf")
        lora = _adapter(home / f"lora-{at}", at)
        compress.convert_adapter(model, lora, draft / "adapter.gguf")
        kind = {"quantization": "adapter-q8_0", "adapter": "adapter.gguf"}
    else:
        # Other bytes in the last weights: merged files differ, and are never taken for one.
        (draft / "model.gguf").write_bytes(gguf.read_bytes()[:-1] + bytes([at]))
    manifest = Manifest(
        task=f"task{at}",
        kind="generate",
        candidate="lm-lora",
        engine="llamacpp",
        prompt=PromptSpec(style="chat", kind="generate", instruction="Go on."),
        sampling=Sampling(max_tokens=TOKENS),
        model="model.gguf",
        **kind,
    )
    return freeze(draft, manifest, into=home / f"bundles-{shares}").path


def _adapter(folder: Path, seed: int) -> Path:
    """A random LoRA on every linear layer."""
    from smallworks import files
    from smallworks.compress.weights import write

    random, shape = np.random.default_rng(seed), random_llama.SHAPE
    width, inner = int(shape["hidden_size"]), int(shape["intermediate_size"])
    keys = width // int(shape["num_attention_heads"]) * int(shape["num_key_value_heads"])
    sizes = {"q_proj": (width, width), "k_proj": (keys, width), "v_proj": (keys, width)}
    places = {f"self_attn.{name}": size for name, size in (sizes | {"o_proj": (width, width)}).items()}
    places |= {
        "mlp.gate_proj": (inner, width),
        "mlp.up_proj": (inner, width),
        "mlp.down_proj": (width, inner),
    }
    tensors = {}
    for layer in range(int(shape["num_hidden_layers"])):
        for place, (out, into) in places.items():
            name = f"base_model.model.model.layers.{layer}.{place}"
            tensors[f"{name}.lora_A.weight"] = random.normal(0, 0.02, (RANK, into)).astype(np.float32)
            tensors[f"{name}.lora_B.weight"] = random.normal(0, 0.02, (out, RANK)).astype(np.float32)
    folder.mkdir()
    plan = {name: ("F32", tensor.shape) for name, tensor in tensors.items()}
    write(folder / "adapter_model.safetensors", plan, tensors.values())  # type: ignore[arg-type]
    files.write_json(folder / "adapter_config.json", {"peft_type": "LORA", "r": RANK, "lora_alpha": 2 * RANK})
    return folder
