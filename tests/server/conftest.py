"""Bundles on the fake engine behind a real server on loopback, and the clients that speak to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from openai import OpenAI

from smallworks.bundle import Manifest, freeze
from smallworks.engines.fake import Fake
from smallworks.engines.predictor import Predictor
from smallworks.prompt.renderer import Renderer
from smallworks.server import background, create_app
from smallworks.types import Choices, PromptSpec, Sampling

LABELS = ("bug", "feature", "question")
INSTRUCTION = "Name the kind of the ticket."
CRASH = {"bug": 0.7, "feature": 0.1, "question": 0.2}


@pytest.fixture()
def bundle(tmp_path: Path) -> Path:
    """A bundle of the fake engine on disk, which tells bugs from questions."""
    """A frozen bundle on the fake engine."""
    draft = tmp_path / "draft"
    draft.mkdir()
    spec = PromptSpec(style="raw", kind="classify", choices=Choices(labels=("bug", "question")))
    manifest = Manifest(task="tickets", kind="classify", candidate="fake", engine="fake", prompt=spec)
    return freeze(draft, manifest, into=tmp_path / "bundles").path


@pytest.fixture(scope="session")
def labelling() -> Callable[..., Predictor]:
    """Makes a bundle that knows one text, 'It crashes.', as a bug at 0.7."""

    def make(model: Any = None, **manifest: Any) -> Predictor:
        choices = Choices(labels=LABELS)
        spec = PromptSpec(style="raw", kind="classify", instruction=INSTRUCTION, choices=choices)
        return _predictor(spec, model or Fake(scores={"It crashes.": CRASH}), **manifest)

    return make


@pytest.fixture(scope="session")
def writing() -> Callable[..., Predictor]:
    """Makes a bundle that echoes its prompt: the instruction, a blank line and the input."""

    def make(model: Any = None, **manifest: Any) -> Predictor:
        spec = PromptSpec(style="chat", kind="generate", instruction="Say it.")
        return _predictor(spec, model or Fake(), **{"task": "echo", **manifest})

    return make


def _predictor(spec: PromptSpec, model: Any, **manifest: Any) -> Predictor:
    usual: Any = {"task": "tickets", "engine": "fake", "sampling": Sampling(max_tokens=64)}
    whole = Manifest(kind=spec.kind, candidate="fake", prompt=spec, **{**usual, **manifest})
    return Predictor(manifest=whole, model=model, renderer=Renderer(spec))


@pytest.fixture(scope="module")
def bundles(labelling: Callable[..., Predictor], writing: Callable[..., Predictor]) -> dict[str, Predictor]:
    return {
        "tickets": labelling(),
        "echo": writing(),
        "slow": writing(Fake(pace=0.02), sampling=Sampling(max_tokens=1000)),
        "pair": labelling(inputs=("title", "body")),
        "short": writing(Fake(context=40)),
    }


@pytest.fixture(scope="module")
def address(bundles: dict[str, Predictor]) -> Iterator[str]:
    with background(create_app(bundles, default="tickets")) as url:
        yield url


@pytest.fixture(scope="module")
def http(address: str) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=address, timeout=20) as client:
        yield client


@pytest.fixture(scope="module")
def openai(address: str) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0, timeout=20) as client:
        yield client


@pytest.fixture(scope="session")
def starter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Predictor]:
    """The starter itself on llama.cpp, as a bundle that writes what it is asked."""
    from smallworks import starter as embedded
    from smallworks.compress.gguf import convert
    from smallworks.engines.llamacpp import LlamaCpp
    from smallworks.prompt import Template
    from smallworks.prompt import tokenizer as tokenizers
    from smallworks.seams import silent

    path = convert(embedded.MODEL, tmp_path_factory.mktemp("starter") / "model.gguf", "f32", silent)
    spec = PromptSpec(style="chat", kind="generate")
    renderer = Renderer(spec, Template.load(embedded.MODEL), tokenizers.load(embedded.MODEL))
    sampling = Sampling(max_tokens=48, stop_ids=renderer.stop_ids)
    manifest = Manifest(
        task="assistant",
        kind="generate",
        candidate="starter",
        engine="llamacpp",
        prompt=spec,
        sampling=sampling,
    )
    with Predictor(manifest=manifest, model=LlamaCpp(path, threads=1), renderer=renderer) as predictor:
        yield predictor


@pytest.fixture(scope="module")
def real(
    starter: Predictor, labelling: Callable[..., Predictor], writing: Callable[..., Predictor]
) -> Iterator[OpenAI]:
    """OpenAI's client of a server with the starter, a bundle that labels and one that echoes."""
    bundles = {"starter": starter, "tickets": labelling(), "echo": writing()}
    with (
        background(create_app(bundles, default="starter")) as url,
        OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=60) as client,
    ):
        yield client
