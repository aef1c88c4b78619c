"""What the claims about models being served share: a random Llama as bundles, and Banking77's texts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.shared import read_csv, shared

WORDS = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "config.json")
INSTRUCTION = "Name the intent of the customer's message."


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
