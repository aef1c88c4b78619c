"""A small copy of the sample task, its build of the two cheapest candidates, and a language model bundle."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from smallworks import child, compress, files, starter, taskfile
from smallworks.bundle import Bundle, Calibration, Manifest, freeze
from smallworks.bundle.golden import write
from smallworks.compress.weights import write as write_tensors
from smallworks.engines.base import resolve, words_of
from smallworks.engines.llamacpp import LlamaCpp
from smallworks.engines.predictor import Predictor
from smallworks.prompt import Renderer, choose
from smallworks.recipes.build import Options, build
from smallworks.types import PromptSpec, Sampling, Table, Task

TOML = """
[task]
name = "small"
kind = "classify"
instruction = "Name the kind of the ticket."
[data]
train = "train.csv"
test = "test.csv"
input = "text"
output = "label"
[targets]
metric = "accuracy"
at_least = {at_least}
"""


def write_task(folder: Path, *, train: int = 120, test: int = 60, at_least: float = 0.5) -> Task:
    """The first rows of the sample tickets as a task of their own."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, count in (("train", train), ("test", test)):
        with (starter.TASKS["tickets"] / f"{name}.csv").open(newline="", encoding="utf-8") as file:
            rows = list(csv.reader(file))[: count + 1]
        with (folder / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(rows)
    (folder / "task.toml").write_text(TOML.format(at_least=at_least))
    return taskfile.load_task(folder)


@pytest.fixture(scope="session")
def small_task(tmp_path_factory: pytest.TempPathFactory) -> Task:
    return write_task(tmp_path_factory.mktemp("small"))


Here = Callable[[], AbstractContextManager[None]]
CHILD = child.run


@pytest.fixture(scope="session")
def small_table(small_task: Task, here: Here) -> Table:
    """Majority and linear, built."""
    with here():
        return build(small_task, Options(only=("majority", "linear")))


@pytest.fixture(scope="module", autouse=True)
def workers(here: Here) -> Iterator[None]:
    """Workers run in this process, where what they need is loaded once, except for tests with `children`."""
    with here():
        yield


@pytest.fixture
def children(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers run in processes of their own, as they do for users."""
    monkeypatch.setattr(child, "run", CHILD)


SPECIMENS = (
    "The export button does nothing.",
    "Please add a dark mode!",
    "How do I reset my password?",
    "It crashed: « ü ½ » 🎉\n\nAgain.",
)


@pytest.fixture(scope="session")
def adapted(small_task: Task, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The starter with a random adapter, as a bundle of the small task; its golden rows by llama.cpp."""
    return freeze_adapted(small_task, tmp_path_factory.mktemp("adapted"))


def freeze_adapted(task: Task, scratch: Path, **changes: Any) -> Bundle:
    """`changes` are fields of the manifest; the bundle lies among those of the task."""
    draft, base = scratch / "draft", resolve(None)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "config.json"):
        files.link_or_copy(starter.MODEL / name, draft / "tokenizer" / name)
    write_adapter(draft / "adapter")
    words = words_of(base)
    labels = ("bug", "feature", "question")
    spec = PromptSpec(
        style="chat",
        kind="classify",
        instruction="Name the kind of the ticket.",
        choices=choose(labels, words.tokenizer, words.template),
    )
    stops = Renderer(spec, words.template, words.tokenizer).stop_ids
    manifest = Manifest(
        task=task.name,
        kind="classify",
        candidate="lm-lora",
        engine="transformers",
        prompt=spec,
        sampling=Sampling(max_tokens=12, stop_ids=stops),
        adapter="adapter",
        base=base.pin,
        calibration=Calibration(temperature=2.0, bias=(0.5, 0.0, -0.5), isotonic=((0.1, 0.2), (0.9, 0.8))),
    )
    manifest = replace(manifest, **changes)
    merged = compress.merge(starter.MODEL, draft / "adapter", scratch / "merged")
    model = LlamaCpp(compress.quantize(merged, scratch / "f32.gguf", "f32"), threads=1)
    renderer = Renderer(manifest.prompt, words.template, words.tokenizer)
    with Predictor(manifest=manifest, model=model, renderer=renderer) as predictor:
        write(draft, [predictor.golden({"input": text}) for text in SPECIMENS])
    return freeze(draft, manifest, into=task.folder / "bundles")


def write_adapter(folder: Path, *, rank: int = 4) -> None:
    """A LoRA over two layers of the starter, random but the same every time."""
    generator, config = np.random.default_rng(0), files.read_json(starter.MODEL / "config.json")
    width, heads = config["hidden_size"], config["head_dim"] * config["num_attention_heads"]
    tensors = {}
    for layer in (0, 3):
        name = f"base_model.model.model.layers.{layer}.self_attn.q_proj"
        tensors[f"{name}.lora_A.weight"] = generator.normal(0, 0.1, (rank, width)).astype(np.float32)
        tensors[f"{name}.lora_B.weight"] = generator.normal(0, 0.1, (heads, rank)).astype(np.float32)
    folder.mkdir(parents=True)
    plan = {name: ("F32", tensor.shape) for name, tensor in tensors.items()}
    write_tensors(folder / "adapter_model.safetensors", plan, tensors.values())
    (folder / "adapter_config.json").write_text(
        json.dumps({"peft_type": "LORA", "r": rank, "lora_alpha": 8, "target_modules": ["q_proj"]})
    )
