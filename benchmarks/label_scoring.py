"""Scoring 77 labels by their codes is several times faster than generating one, and exact.

Measured: a Llama of SmolLM2-135M's shape (random weights, real tokenizer), a prefix of 256 tokens that all
requests share and 15 new tokens each; every engine's `score`, one request at a time, one thread, in turns.
Against: transformers' own `generate(max_new_tokens=8)` per request, the faster of float32 and bfloat16.
Exactness: each engine's best label against the one of the largest next-token log-softmax over the whole
vocabulary: by a plain forward pass in torch, and for a GGUF by llama.cpp's own unbiased distribution.
Not covered: accuracy (the weights are random), batches, other shapes.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks import random_llama
from benchmarks.claim import Finding, Say
from benchmarks.shared import read_csv, shared
from benchmarks.timing import in_turns, medians
from smallworks import compress
from smallworks.engines.llamacpp import LlamaCpp
from smallworks.engines.transformers import Transformers
from smallworks.prompt import Template, TextTokenizer, choose
from smallworks.types import Choices, Prompt

UNIT = "times faster than the peer"
GOAL = "≥ 5 × on llama.cpp q8_0 and f16; best label equal to exact likelihood on every request"
LEAST = 5.0
PREFIX, NEW, REQUESTS = 256, 15, 12


def measure(say: Say) -> Finding:
    words, data = shared("fixtures/tok-smollm2"), shared("data/banking77")
    labels = json.loads((data / "categories.json").read_text())
    with tempfile.TemporaryDirectory(prefix="smallworks-") as scratch:
        folder = random_llama.make(Path(scratch) / "model", words)
        tokenizer = TextTokenizer.load(folder)
        choices = choose(labels, tokenizer, Template.load(folder))
        texts = [text for (text,) in read_csv(data / "test.csv", "text")]
        prompts = _prompts(tokenizer, labels, texts)
        ggufs = {
            kind: compress.quantize(folder, Path(scratch) / f"{kind}.gguf", kind) for kind in ("q8_0", "f16")
        }
        engines: dict[str, Any] = {
            "llamacpp q8_0": LlamaCpp(ggufs["q8_0"], threads=1),
            "llamacpp f16": LlamaCpp(ggufs["f16"], threads=1),
            "transformers f32": Transformers(folder, dtype="float32", threads=1),
        }
        forwards = {f"generate {kind}": _plain(folder, kind) for kind in ("float32", "bfloat16")}
        exact = _exact(engines, forwards["generate float32"], prompts, choices)
        say(f"best label equal to exact likelihood, of {REQUESTS}: {exact}")
        ms = medians(in_turns(_subjects(engines, forwards, choices), prompts))
        for engine in engines.values():
            engine.close()
    say(f"ms a request: {ms}")
    peer = min(forwards, key=lambda name: ms[name])
    ratios = {name: round(ms[peer] / ms[name], 1) for name in engines}
    return Finding(
        value=ratios["llamacpp q8_0"],
        holds=min(ratios["llamacpp q8_0"], ratios["llamacpp f16"]) >= LEAST
        and set(exact.values()) == {REQUESTS},
        against={"name": f"transformers {peer}", "ms": ms[peer]},
        details={"ms": ms, "ratios": ratios, "exact": exact, "requests": REQUESTS, "labels": len(labels)},
    )


def _prompts(tokenizer: TextTokenizer, labels: Sequence[str], texts: Sequence[str]) -> list[Prompt]:
    """Prompts of PREFIX shared tokens and NEW of their own."""
    prefix = tokenizer.encode("Name the intent. Labels: " + ", ".join(labels))[:PREFIX]
    rows = [tokenizer.encode(text)[:NEW] for text in texts]
    long = [row for row in rows if len(row) == NEW][:REQUESTS]
    return [Prompt(text=tokenizer.decode(prefix + row), ids=tuple(prefix + row)) for row in long]


def _plain(folder: Path, kind: str) -> Any:
    import torch
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(
        folder, dtype=getattr(torch, kind), local_files_only=True
    ).eval()


def _subjects(
    engines: dict[str, Any], forwards: dict[str, Any], choices: Choices
) -> dict[str, Callable[[Prompt], Any]]:
    import torch

    def generate(model: Any) -> Callable[[Prompt], Any]:
        def call(prompt: Prompt) -> Any:
            ids = torch.tensor([prompt.ids])
            with torch.inference_mode():
                return model.generate(
                    ids, attention_mask=torch.ones_like(ids), max_new_tokens=8, do_sample=False
                )

        return call

    def score(engine: Any) -> Callable[[Prompt], Any]:
        return lambda prompt: engine.score([prompt], choices)

    return {
        **{name: score(engine) for name, engine in engines.items()},
        **{name: generate(model) for name, model in forwards.items()},
    }


def _exact(
    engines: dict[str, Any], model: Any, prompts: Sequence[Prompt], choices: Choices
) -> dict[str, int]:
    """On how many requests an engine's best label is the one of the largest exact likelihood."""
    import torch

    def by_torch(prompt: Prompt) -> int:
        with torch.inference_mode():
            logits = model(torch.tensor([prompt.ids])).logits[0, -1]
        return int(torch.log_softmax(logits.double(), -1)[list(choices.ids)].argmax())

    def by_llama(engine: Any) -> Callable[[Prompt], int]:
        def best(prompt: Prompt) -> int:
            request = {
                "prompt": list(prompt.ids),
                "n_predict": 1,
                "temperature": 1.0,
                "n_probs": random_llama.SHAPE["vocab_size"],
            }
            reply = engine._server.complete({**request, "cache_prompt": False}, ())
            entries = reply["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
            found = {entry["id"]: entry["logprob"] for entry in entries}
            return max(range(len(choices.ids)), key=lambda i: found[choices.ids[i]])

        return best

    judges = {name: by_llama(engine) if "llama" in name else by_torch for name, engine in engines.items()}
    return {
        name: sum(int(engines[name].score([p], choices)[0].argmax()) == judge(p) for p in prompts)
        for name, judge in judges.items()
    }
