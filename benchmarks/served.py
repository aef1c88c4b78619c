"""The starter behind a real server in this process, for claims about what the server says."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

TOKENS = 16
"""Tokens of an answer where nothing is said."""


@contextmanager
def starter_served() -> Iterator[str]:
    """The address of a server with the starter on llama.cpp, called 'starter'."""
    from smallworks import starter
    from smallworks.bundle.manifest import Manifest
    from smallworks.compress.gguf import convert
    from smallworks.engines.llamacpp import LlamaCpp
    from smallworks.engines.predictor import Predictor
    from smallworks.prompt import Template
    from smallworks.prompt import tokenizer as tokenizers
    from smallworks.prompt.renderer import Renderer
    from smallworks.seams import silent
    from smallworks.server import background, create_app
    from smallworks.types import PromptSpec, Sampling

    with tempfile.TemporaryDirectory(prefix="smallworks-") as scratch:
        path = convert(starter.MODEL, Path(scratch) / "model.gguf", "f32", silent)
        spec = PromptSpec(style="chat", kind="generate")
        renderer = Renderer(spec, Template.load(starter.MODEL), tokenizers.load(starter.MODEL))
        manifest = Manifest(
            task="starter",
            kind="generate",
            candidate="starter",
            engine="llamacpp",
            prompt=spec,
            sampling=Sampling(max_tokens=TOKENS, stop_ids=renderer.stop_ids),
        )
        model = LlamaCpp(path, threads=1)
        with (
            Predictor(manifest=manifest, model=model, renderer=renderer) as predictor,
            background(create_app({"starter": predictor}, default="starter")) as url,
        ):
            yield url
