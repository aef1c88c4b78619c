"""How fast each 8-bit and 4-bit form reads and writes, on the shape of SmolLM2-135M with random weights.

Measured: tokens a second of a prompt of 256 tokens that no cache knows (the best of ROUNDS), and of 24 tokens
written after 20, one thread, all forms in turns. Against: llama.cpp's q8_0 and q4_0 in the same run.
Not covered: more threads, several requests at once, other shapes and processors; the weights are random, so
that nothing is said of quality.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import random_llama
from benchmarks.claim import Finding, Say
from benchmarks.shared import shared
from smallworks import compress
from smallworks.engines.genai import Genai
from smallworks.engines.llamacpp import LlamaCpp
from smallworks.engines.openvino import OpenVino
from smallworks.types import Prompt, Sampling

UNIT = "times the prompt tokens a second of llama.cpp q8_0, for openvino-int8"
GOAL = "openvino-int8 reads ≥ 1.2 × as fast as q8_0"
LEAST = 1.2
ROUNDS, READ, WRITTEN = 4, 256, 24


def measure(say: Say) -> Finding:
    with tempfile.TemporaryDirectory(prefix="smallworks-") as scratch:
        folder = random_llama.make(Path(scratch) / "model", shared("fixtures/tok-smollm2"))
        engines = {name: make(folder, Path(scratch) / name) for name, make in FORMS.items()}
        read: dict[str, list[float]] = {name: [] for name in engines}
        written: dict[str, list[float]] = {name: [] for name in engines}
        random = np.random.default_rng(0)
        for _ in range(ROUNDS):
            for name, engine in engines.items():
                ids = tuple(map(int, random.integers(5, random_llama.SHAPE["vocab_size"], READ)))
                read[name].append(_reading(engine, ids))
                written[name].append(_writing(engine, ids[:20]))
        for engine in engines.values():
            engine.close()
    best = {name: {"read": max(read[name]), "written": max(written[name])} for name in engines}
    for name, speeds in best.items():
        say(f"{name}: reads {speeds['read']:.0f}, writes {speeds['written']:.0f} tokens a second")
    ratio = best["openvino-int8"]["read"] / best["q8_0"]["read"]
    return Finding(
        value=round(ratio, 2),
        holds=ratio >= LEAST,
        against={"name": "llama.cpp q8_0, same run", "read": round(best["q8_0"]["read"])},
        details=best,
    )


FORMS: dict[str, Callable[[Path, Path], Any]] = {
    "q8_0": lambda folder, out: LlamaCpp(compress.quantize(folder, out, "q8_0"), threads=1),
    "q4_0": lambda folder, out: LlamaCpp(compress.quantize(folder, out, "q4_0"), threads=1),
    "openvino-int8": lambda folder, out: OpenVino(compress.to_openvino(folder, out, 8), folder, threads=1),
    "openvino-int4": lambda folder, out: OpenVino(compress.to_openvino(folder, out, 4), folder, threads=1),
    "onnx-int4": lambda folder, out: Genai(compress.to_genai(folder, out), folder, threads=1),
}


def _reading(engine: Any, ids: tuple[int, ...]) -> float:
    start = time.perf_counter()
    engine.generate(Prompt(text="", ids=ids), Sampling(max_tokens=1))
    return len(ids) / (time.perf_counter() - start)


def _writing(engine: Any, ids: tuple[int, ...]) -> float:
    """From the first piece of text on: what was read before it is not counted."""
    first, count = 0.0, 0
    hot = Sampling(max_tokens=WRITTEN, temperature=1.0, seed=1)
    for chunk in engine.stream(Prompt(text="", ids=ids), hot):
        first = first or time.perf_counter()
        if chunk.completion:
            count = chunk.completion.tokens_out
    return (count - 1) / (time.perf_counter() - first)
