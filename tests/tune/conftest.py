"""A random two-layer Llama with the starter's tokenizer, and rows that it can learn."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from smallworks import child, starter
from smallworks.prompt import TrainingRow
from smallworks.tune import TuneOptions, TuneRequest
from smallworks.tune.run import in_child, write_rows

END, PAD = 2, 3
OPTIONS = TuneOptions(
    end_id=END,
    pad_id=PAD,
    rank=4,
    alpha=8,
    learning_rate=5e-3,
    epochs=2,
    batch_size=4,
    evals_per_epoch=2,
    least_interval=1,
)
Ask = Callable[..., TuneRequest]
Here = Callable[[], AbstractContextManager[None]]


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("torch")
    return _random_llama(tmp_path_factory.mktemp("base"), width=32)


@pytest.fixture(scope="session")
def wide_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The narrowest that nf4 takes."""
    pytest.importorskip("torch")
    return _random_llama(tmp_path_factory.mktemp("wide-base"), width=64)


def _random_llama(folder: Path, *, width: int) -> Path:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=json.loads((starter.MODEL / "config.json").read_text())["vocab_size"],
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(starter.MODEL / name, folder / name)
    return folder


def rows(count: int, seed: int) -> tuple[TrainingRow, ...]:
    """Prompts of 5 to 20 random ids; the answer is told by the first of them."""
    random = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        prompt = random.integers(100, 4000, random.integers(5, 20)).tolist()
        ids = (*prompt, 36 + prompt[0] % 2, END)
        made.append(TrainingRow(ids=ids, supervised=(False,) * len(prompt) + (True, True)))
    return tuple(made)


@pytest.fixture
def ask(base: Path, tmp_path: Path) -> Ask:
    """A request over the tiny base; options and fields can be changed by name."""

    def make(*, out: str = "out", train: int = 40, validation: int = 8, **options: object) -> TuneRequest:
        return TuneRequest(
            base=base,
            out=tmp_path / out,
            train=rows(train, 1),
            validation=rows(validation, 2),
            options=replace(OPTIONS, **options),  # type: ignore[arg-type]
        )

    return make


@pytest.fixture
def train(here: Here) -> Callable[[TuneRequest], dict[str, Any]]:
    """The worker in this process, which has the libraries at hand already: what its child would answer."""
    pytest.importorskip("trl")

    def run(request: TuneRequest) -> dict[str, Any]:
        request.out.mkdir(parents=True)
        write_rows(request)
        asked = in_child(request, request.options.learning_rate or 1e-3)
        with here():
            told: dict[str, Any] = child.run("smallworks.tune.worker", asked)
        return told

    return run
