"""What was tuned is what is served: the same token ids everywhere, and the same labels from GGUF.

Measured: the starter, LoRA-tuned on the sample tickets by `smallworks build`. Token ids of every test ticket
(and every test row of Banking77, where it is at hand) as the tuner, transformers' own chat template and
tokenizer, llama.cpp's tokenizer and the engine behind the HTTP server see them. Labels of every test ticket
from the f16 and the q8_0 GGUF (this one over HTTP) against the reference engine, transformers in float32.
Not covered: other base models, whose tokenizers have tests of their own; generated text.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import numpy as np

import smallworks as sw
from benchmarks.claim import Finding, Say, Skipped
from benchmarks.command import smallworks
from benchmarks.shared import read_csv, shared
from smallworks import compress, starter
from smallworks.engines.llamacpp import LlamaCpp
from smallworks.engines.predictor import Predictor
from smallworks.prompt import render
from smallworks.server import background, create_app
from smallworks.types import Choices, Prompt

UNIT = "share of rows with equal token ids"
GOAL = "token ids equal on every row; labels equal to the reference: f16 ≥ 0.995, q8_0 ≥ 0.99"
LEAST_F16, LEAST_Q8 = 0.995, 0.99
BATCH = 64


class Recorder:
    """Stands before an engine and keeps the ids that reach it; without an engine every label is as likely."""

    def __init__(self, model: Any = None) -> None:
        self.model, self.ids = model, list[tuple[int, ...]]()
        self.engine, self.context = "recorder", model.context if model else 0

    def score(self, prompts: Sequence[Prompt], choices: Choices) -> np.ndarray:
        self.ids += [prompt.ids for prompt in prompts]
        if self.model:
            return np.asarray(self.model.score(prompts, choices))
        return np.full((len(prompts), len(choices.labels)), -np.log(len(choices.labels)))


def measure(say: Say) -> Finding:
    tickets = [text for (text,) in read_csv(starter.TASKS["tickets"] / "test.csv", "text")]
    with tempfile.TemporaryDirectory(prefix="smallworks-") as scratch:
        folder = Path(scratch)
        names = "lm-lora,lm-lora-q8_0"
        ran = smallworks(
            "build", "tickets", "--only", names, "--out", folder / "out", "--json", folder=folder
        )
        bundles = {row["name"]: row["bundle"] for row in ran.json()["candidates"]}
        f16 = _f16(Path(bundles["lm-lora"]), folder)
        with sw.load(bundles["lm-lora"]) as reference, sw.load(bundles["lm-lora-q8_0"]) as small:
            expected = _labels(reference, tickets)
            labels = {"f16": _labels(replace(small, model=f16), tickets)}
            served, labels["q8_0"] = _served(small, Recorder(small.model), tickets)
            ids = _ids(reference, f16, tickets, served)
            if others := _others():
                served, _ = _served(small, Recorder(), others)
                more = _ids(reference, f16, others, served)
                ids = {name: [*ids[name], *more[name]] for name in ids}
        f16.close()
    agree = {name: _share(expected, said) for name, said in labels.items()}
    equal = {name: _share(ids["tuned"], seen) for name, seen in ids.items() if name != "tuned"}
    say(f"token ids on {len(ids['tuned'])} rows: {equal}; labels on {len(tickets)} rows: {agree}")
    worst = min(equal.values())
    return Finding(
        value=worst,
        holds=worst == 1.0 and agree["f16"] >= LEAST_F16 and agree["q8_0"] >= LEAST_Q8,
        against={"name": "transformers: its chat template and tokenizer, and float32 labels"},
        details={"ids": equal, "id_rows": len(ids["tuned"]), "labels": agree, "label_rows": len(tickets)},
    )


def _f16(bundle: Path, folder: Path) -> LlamaCpp:
    merged = compress.merge(starter.MODEL, bundle / "adapter", folder / "merged")
    return LlamaCpp(compress.quantize(merged, folder / "f16.gguf", "f16"))


def _others() -> list[str]:
    try:
        return [text for (text,) in read_csv(shared("data/banking77") / "test.csv", "text")]
    except Skipped:
        return []


def _labels(predictor: Predictor, texts: Sequence[str]) -> list[str]:
    starts = range(0, len(texts), BATCH)
    return [a.text for start in starts for a in predictor.answers(texts[start : start + BATCH])]


def _ids(
    reference: Predictor, llama: LlamaCpp, texts: Sequence[str], served: Sequence[tuple[int, ...]]
) -> dict[str, Sequence[Any]]:
    """Each row's prompt ids by every way that they come about."""
    from transformers import AutoTokenizer

    own = AutoTokenizer.from_pretrained(starter.MODEL, local_files_only=True)
    spec = reference.manifest.prompt
    assert spec.choices is not None
    label = spec.choices.labels[0]

    def tuned(text: str) -> tuple[int, ...]:
        row = reference.renderer.training(text, label)
        return tuple(id for id, supervised in zip(row.ids, row.supervised, strict=True) if not supervised)

    def templated(text: str) -> tuple[int, ...]:
        said = [{"role": m.role, "content": m.content} for m in render.messages(spec, text)]
        return tuple(own.apply_chat_template(said, add_generation_prompt=True, return_dict=False))

    ways: dict[str, Callable[[str], tuple[int, ...]]] = {
        "tuned": tuned,
        "transformers": templated,
        "llama.cpp": lambda text: tuple(llama.tokenize(reference.render(text).text)),
    }
    return {**{name: [way(text) for text in texts] for name, way in ways.items()}, "served": served}


def _served(
    predictor: Predictor, recorder: Any, texts: Sequence[str]
) -> tuple[list[tuple[int, ...]], list[str]]:
    """The ids that reached the engine through the HTTP server, and the labels that came back."""
    app = create_app({"tickets": replace(predictor, model=recorder)}, default="tickets")
    labels: list[str] = []
    with background(app) as url:
        for start in range(0, len(texts), BATCH):
            body = json.dumps({"input": texts[start : start + BATCH]}).encode()
            request = Request(f"{url}/v1/classify", body, {"Content-Type": "application/json"})
            with urlopen(request, timeout=120) as answer:
                labels += [item["label"] for item in json.load(answer)["data"]]
    return recorder.ids, labels


def _share(expected: Sequence[Any], said: Sequence[Any]) -> float:
    equal: int = sum(a == b for a, b in zip(expected, said, strict=True))
    return equal / len(expected)
