"""Open anything that can be talked to: a bundle, or a base model through llama.cpp (converted once)."""

from __future__ import annotations

from pathlib import Path

from smallworks import compress, settings
from smallworks.bundle.manifest import Manifest
from smallworks.bundle.store import MANIFEST
from smallworks.engines.base import resolve
from smallworks.engines.llamacpp import GgufTokenizer, LlamaCpp
from smallworks.engines.opening import open_bundle, threads_for
from smallworks.engines.predictor import Predictor
from smallworks.prompt import Renderer, Template
from smallworks.prompt import tokenizer as tokenizers
from smallworks.seams import Progress, silent
from smallworks.types import PromptSpec, Sampling


def open_model(ref: str | None, *, progress: Progress = silent) -> Predictor:
    """A bundle folder, a base folder, a GGUF or a hub id (None: the starter) as something that answers."""
    if ref and (Path(ref).expanduser() / MANIFEST).is_file():
        return open_bundle(Path(ref).expanduser())
    base = resolve(ref)
    spec = PromptSpec(style="chat", kind="generate")
    if base.is_gguf:
        model = LlamaCpp(base.path)
        template = Template(model.chat_template, special=model.special_tokens)
        renderer = Renderer(spec, template, GgufTokenizer(model))
    else:
        path = _converted(base.path, base.pin.sha256, progress)
        model = LlamaCpp(path, threads=threads_for(path))
        renderer = Renderer(spec, Template.load(base.path), tokenizers.load(base.path))
    manifest = Manifest(
        task=base.path.name,
        kind="generate",
        candidate="base",
        engine="llamacpp",
        prompt=spec,
        sampling=Sampling(stop_ids=renderer.stop_ids),
        base=base.pin,
    )
    return Predictor(manifest=manifest, model=model, renderer=renderer)


def _converted(folder: Path, digest: str, progress: Progress) -> Path:
    """The base as a GGUF in f16, made on first use and kept in the cache."""
    path = settings.load().home / "gguf" / f"{digest[:16]}-f16.gguf"
    if not path.is_file():
        progress("convert", 0, 0, folder.name)
        compress.quantize(folder, path, "f16")
        progress("convert", 1, 1, "done")
    return path
