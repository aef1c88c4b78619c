"""From a bundle on disk to a Predictor: which engine, which weights, which tokenizer.

The only place that knows every engine by name; each engine's library is loaded only when it is asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from smallworks import files, settings
from smallworks.bundle.manifest import Base, Manifest, Stage
from smallworks.bundle.store import Bundle, hash_weights
from smallworks.bundle.store import open_bundle as open_checked
from smallworks.engines.predictor import Predictor
from smallworks.engines.shots import POOL, ShotFinder, read_pool
from smallworks.errors import BundleError
from smallworks.prompt.renderer import Renderer
from smallworks.seams import Embedder, Model, Reranker, Tokenizer

SMALL_BYTES = 50_000_000
PASSAGE_TOKENS = 256
"""What an embedder reads of a passage or a question: all of a passage that has 800 characters."""
TOKENIZER = "tokenizer"
"""Folder inside a bundle that holds the tokenizer, the chat template and the stop ids."""


def open_bundle(
    where: Bundle | str | Path, *, threads: int | None = None, model: Model | None = None
) -> Predictor:
    """Check a bundle's files, load its engine, and return what answers. Raises BundleError, ModelError.

    `model` is its engine where that is loaded already.
    """
    bundle = where if isinstance(where, Bundle) else open_checked(where)
    model = model or MAKERS[bundle.manifest.engine](bundle, threads)
    return Predictor(
        manifest=bundle.manifest,
        model=model,
        renderer=_renderer(bundle, model),
        shots=_shots(bundle),
    )


def threads_for(weights: Path) -> int:
    """One thread for small weights, whose layers are too short to share; the settings' for the rest.

    Beside any other busy process a second thread waits for its core: 3 M parameters then answered eight
    times slower on two threads than on one.
    """
    return 1 if files.size_of(weights) < SMALL_BYTES else settings.load().threads


def base_path(base: Base) -> Path:
    """Where the pinned weights are, checked against their hash. Raises BundleError when they changed."""
    path = _starter() if base.source == "starter" else Path(base.ref)
    if not path.exists():
        raise BundleError(
            f"The base model '{base.ref}' that this bundle refers to is not there.",
            fix="Put it back at that path, or rebuild with: smallworks build --base PATH",
        )
    actual = hash_weights(path)
    if actual != base.sha256 and base.source == "starter":
        raise BundleError(
            f"The starter of this Smallworks ({actual[:12]}…) is not the one that this bundle was built on "
            f"({base.sha256[:12]}…).",
            fix="Install the version that built it, or rebuild with: smallworks build TASK",
        )
    if actual != base.sha256:
        raise BundleError(
            f"The base model '{base.ref}' has checksum {actual[:12]}…, not {base.sha256[:12]}… as frozen.",
            fix="Restore the weights that the bundle was built on, or rebuild with: smallworks build",
        )
    return path


def gguf_of(bundle: Bundle) -> Path:
    """The GGUF that a bundle on llama.cpp answers from, without its adapter."""
    manifest = bundle.manifest
    return bundle.file(manifest.model) if manifest.model else base_path(_need_base(manifest))


def _starter() -> Path:
    from smallworks import starter

    return starter.MODEL


def _linear(bundle: Bundle, threads: int | None) -> Model:
    from smallworks.engines import fields, linear

    folder = bundle.file(bundle.manifest.model or "linear")
    if bundle.manifest.kind == "extract":
        return fields.Fields(fields.load(folder))
    return linear.Linear(linear.load(folder))


def _onnx(bundle: Bundle, threads: int | None) -> Model:
    from smallworks.engines.linear import load
    from smallworks.engines.onnx import Encoder, Onnx

    encoder = Encoder(bundle.file(bundle.manifest.encoder or "encoder"), threads=threads)
    return Onnx(load(bundle.file(bundle.manifest.model or "linear")), encoder)


def _llamacpp(bundle: Bundle, threads: int | None) -> Model:
    from smallworks.engines.llamacpp import LlamaCpp

    path, adapter = gguf_of(bundle), bundle.manifest.adapter
    loras = [(bundle.file(adapter), 1.0)] if adapter else []
    return LlamaCpp(path, threads=threads or threads_for(path), loras=loras)


def _transformers(bundle: Bundle, threads: int | None) -> Model:
    from smallworks.engines.transformers import Transformers

    manifest = bundle.manifest
    folder = bundle.file(manifest.model) if manifest.model else base_path(_need_base(manifest))
    adapter = bundle.file(manifest.adapter) if manifest.adapter else None
    return Transformers(folder, adapter=adapter, threads=threads or threads_for(folder))


def _openvino(bundle: Bundle, threads: int | None) -> Model:
    from smallworks.engines.openvino import OpenVino

    folder = bundle.file(bundle.manifest.model or "openvino")
    return OpenVino(folder, bundle.file(TOKENIZER), threads=threads or threads_for(folder))


def _ortgenai(bundle: Bundle, threads: int | None) -> Model:
    from smallworks.engines.genai import Genai

    folder = bundle.file(bundle.manifest.model or "onnx")
    return Genai(folder, bundle.file(TOKENIZER), threads=threads or threads_for(folder))


def _http(bundle: Bundle, threads: int | None) -> Model:
    from smallworks.engines.http import Http

    remote = bundle.manifest.remote
    if remote is None:
        raise BundleError(f"The bundle at '{bundle.path}' names no server.", fix="Rebuild it.")
    if remote.url not in settings.load().upstreams:
        key = f", with the key in {remote.key_env}" if remote.key_env else ""
        raise BundleError(
            f"The bundle at '{bundle.path}' sends every input to {remote.url}{key}.",
            fix=f"If you trust that server: export {settings.UPSTREAMS}={remote.url}",
        )
    model: Model = Http(remote.url, remote.model, key_env=remote.key_env)
    return model


def _fake(bundle: Bundle, threads: int | None) -> Model:
    from smallworks.engines.fake import Fake

    return Fake()


def _cascade(bundle: Bundle, threads: int | None) -> Model:
    from smallworks.engines.cascade import assemble

    manifest, opened = bundle.manifest, list[Predictor]()
    try:
        for stage in manifest.stages:
            opened.append(open_bundle(_stage(bundle, stage), threads=threads))
        names = [stage.name for stage in manifest.stages]
        return assemble(
            opened,
            names,
            list(manifest.thresholds.values()),
            sureness=[manifest.sureness.get(stage.path) for stage in manifest.stages[:-1]],
            sampling=manifest.sampling,
            gate=_gate(bundle),
        )
    except BaseException:
        for predictor in opened:
            predictor.close()
        raise


def _gate(bundle: Bundle) -> Callable[[str], bool] | None:
    from smallworks.engines import difficulty

    gate = bundle.manifest.gate
    if gate is None:
        return None
    found, at = difficulty.read(bundle.file(gate.path)), gate.at
    return lambda text: found.likely(text) >= at


def _retrieval(bundle: Bundle, threads: int | None) -> Model:
    from smallworks.engines.retriever import retriever

    manifest, reader = bundle.manifest, None
    assert manifest.retrieval is not None
    if manifest.stages:
        reader = open_bundle(_stage(bundle, manifest.stages[0]), threads=threads)
    try:
        embedder = _question_encoder(bundle, threads) if manifest.encoder else None
        reranker = _reranker(bundle, threads) if manifest.reranker else None
        index = bundle.file(manifest.model or "index.sqlite")
        return retriever(index, manifest.retrieval, reader, embedder, reranker)
    except BaseException:
        if reader:
            reader.close()
        raise


def _question_encoder(bundle: Bundle, threads: int | None) -> Embedder:
    from smallworks.engines.onnx import Encoder

    folder = bundle.file(bundle.manifest.encoder or "encoder")
    return Encoder(folder, threads=threads, max_tokens=PASSAGE_TOKENS)


def _reranker(bundle: Bundle, threads: int | None) -> Reranker:
    from smallworks.engines.reranker import CrossEncoder

    return CrossEncoder(bundle.file(bundle.manifest.reranker or "reranker"), threads=threads)


def _stage(bundle: Bundle, stage: Stage) -> Bundle:
    """A bundle inside of another. Raises BundleError where it is not the one that was frozen."""
    inner = open_checked(bundle.file(stage.path))
    if inner.id != stage.id:
        raise BundleError(
            f"The stage '{stage.name}' of '{bundle.path}' is {inner.id[:12]}…, not {stage.id[:12]}….",
            fix="Get the bundle again from who built it.",
        )
    return inner


MAKERS: dict[str, Callable[[Bundle, int | None], Model]] = {
    "linear": _linear,
    "onnx": _onnx,
    "llamacpp": _llamacpp,
    "transformers": _transformers,
    "openvino": _openvino,
    "ortgenai": _ortgenai,
    "http": _http,
    "fake": _fake,
    "cascade": _cascade,
    "retrieval": _retrieval,
}


def _renderer(bundle: Bundle, model: Model) -> Renderer:
    """The one renderer of this bundle. A bare GGUF base brings its own tokenizer and template."""
    from smallworks.prompt import template, tokenizer

    spec = bundle.manifest.prompt
    if spec.style == "raw" or bundle.manifest.engine in ("http", "fake"):
        return Renderer(spec)
    folder = bundle.file(TOKENIZER)
    if folder.is_dir():
        return Renderer(spec, template.Template.load(folder), tokenizer.load(folder))
    from smallworks.engines.llamacpp import GgufTokenizer, LlamaCpp

    assert isinstance(model, LlamaCpp)
    words: Tokenizer = GgufTokenizer(model)
    return Renderer(spec, template.Template(model.chat_template, special=model.special_tokens), words)


def _shots(bundle: Bundle) -> ShotFinder | None:
    return read_pool(bundle.path) if (bundle.path / POOL).is_file() else None


def _need_base(manifest: Manifest) -> Base:
    if manifest.base is None:
        raise BundleError("The bundle names neither weights nor a base model.", fix="Rebuild it.")
    return manifest.base
