"""What a bundle can be exported to; and what it cannot, with the reason and what to do instead."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

from smallworks.bundle import Bundle
from smallworks.engines.shots import POOL
from smallworks.errors import BundleError
from smallworks.recipes import weights

Format = Literal["hf", "ollama", "llama.cpp", "onnx", "docker"]
Refusal = tuple[str | None, str]
"""Why not, as the rest of a sentence (None: it can be), and what to do instead."""


def check(bundle: Bundle, to: Format) -> None:
    """Raises BundleError, with the reason and what to do instead, for what cannot become that format."""
    manifest = bundle.manifest
    reason, fix = _several(bundle) if manifest.stages or manifest.retrieval else _REFUSALS[to](bundle)
    if reason:
        raise BundleError(f"'{bundle.name}' {reason}: it cannot be exported to {to}.", fix=fix)
    if to in ("llama.cpp", "ollama") and bundle.manifest.engine == "transformers":
        weights.check_gguf(bundle)


def _several(bundle: Bundle) -> Refusal:
    if bundle.manifest.retrieval:
        return "answers from an index, which only Smallworks searches", "Serve it with `smallworks serve`."
    last = bundle.file(bundle.manifest.stages[-1].path)
    return (
        "hands over between its stages, which only Smallworks does",
        f"Serve it with `smallworks serve`, or export one of its stages, such as '{last}'.",
    )


def _hf(bundle: Bundle) -> Refusal:
    reason = weights.lacking(bundle)
    reference = weights.made_from(bundle)
    if reason and reference:
        return (
            reason,
            f"Export the bundle that it was made from: smallworks export {reference} --to hf --out FOLDER",
        )
    if reason and weights.GGUF in bundle.manifest.files:
        return reason, "Export the bundle that it was made from, or this one --to llama.cpp."
    return (reason, _other_than_a_model(bundle)) if reason else _fixed_prompt(bundle)


def _gguf(bundle: Bundle) -> Refusal:
    if bundle.manifest.engine == "llamacpp":
        if not bundle.manifest.model:
            return _OUTSIDE
        if bundle.manifest.adapter:
            return _beside(bundle)
        return _fixed_prompt(bundle)
    reason = weights.lacking(bundle)
    return (reason, _other_than_a_model(bundle)) if reason else _fixed_prompt(bundle)


def _onnx(bundle: Bundle) -> Refusal:
    if bundle.manifest.encoder:
        return None, ""
    if bundle.manifest.engine == "linear":
        return "holds no ONNX graph, only n-grams under a linear classifier", "Export it --to docker."
    return "holds no ONNX encoder", "Export it --to hf, llama.cpp or ollama."


def _docker(bundle: Bundle) -> Refusal:
    if bundle.manifest.engine == "transformers":
        whole = weights.made_from(bundle) or bundle.path
        fix = f"Quantise it, and export what that froze: smallworks quantize {whole} --to f16,q8_0"
        return "needs torch, which makes an image of gigabytes", fix
    if bundle.manifest.engine in ("http", "fake"):
        return weights.lacking(bundle), _other_than_a_model(bundle)
    if bundle.manifest.engine == "llamacpp" and not bundle.manifest.model:
        return _OUTSIDE
    return None, ""


def _beside(bundle: Bundle) -> Refusal:
    whole = weights.made_from(bundle) or "BUNDLE"
    return (
        "has its adapter beside its base",
        f"Merge it first, and export what that froze: smallworks quantize {whole} --to q8_0",
    )


_OUTSIDE = (
    "refers to a GGUF file outside of itself",
    "Build on the model's safetensors (--base FOLDER), then export a quantised candidate.",
)


def _fixed_prompt(bundle: Bundle) -> Refusal:
    if POOL not in bundle.manifest.files:
        return None, ""
    return (
        "chooses the examples of its prompt anew for every text, which only Smallworks does",
        "Export a quantised form of it --to docker, or a tuned candidate, which needs no examples.",
    )


def _other_than_a_model(bundle: Bundle) -> str:
    if bundle.manifest.encoder:
        return "Export it --to onnx or docker."
    return (
        "Export it --to docker." if bundle.manifest.engine == "linear" else "Build a candidate of your own."
    )


_REFUSALS: Mapping[Format, Callable[[Bundle], Refusal]] = {
    "hf": _hf,
    "llama.cpp": _gguf,
    "ollama": _gguf,
    "onnx": _onnx,
    "docker": _docker,
}
