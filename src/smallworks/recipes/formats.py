"""Which smaller forms a bundle can be quantised to on this machine; and which not, with the reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import get_args

from smallworks.bundle import Bundle
from smallworks.bundle.manifest import ADAPTED, BESIDE, BITSANDBYTES, GENAI, K_QUANTS, LLMCOMPRESSOR, OPENVINO
from smallworks.compress import Bits, BnbKind, GgufKind, kquants, llmcompressor
from smallworks.errors import BundleError, MissingExtra, UserError, nearest
from smallworks.recipes import weights

PLAIN: tuple[GgufKind, ...] = get_args(GgufKind)
BITS: Mapping[str, Bits] = {"openvino-int8": 8, "openvino-int4": 4}
BNB_KINDS: Mapping[str, BnbKind] = {"bnb-8bit": "int8", "bnb-4bit": "nf4"}
LLM_KINDS: Mapping[str, llmcompressor.Kind] = {kind: kind for kind in get_args(llmcompressor.Kind)}
LIBRARIES = {
    **dict.fromkeys(OPENVINO, ("openvino", "openvino")),
    **dict.fromkeys(GENAI, ("onnxruntime_genai", "genai")),
    **dict.fromkeys(BITSANDBYTES, ("bitsandbytes", "quant")),
    **dict.fromkeys(LLMCOMPRESSOR, ("compressed_tensors", "quant")),
}
"""What a format needs beyond the core, and the extra that brings it."""


def here_now() -> list[str]:
    """The formats that this machine can make and run."""
    apart = () if llmcompressor.there() else LLMCOMPRESSOR
    optional = [f for f, (library, _) in LIBRARIES.items() if find_spec(library) and f not in apart]
    ggufs = [*PLAIN, *(K_QUANTS if kquants.there() else ())]
    return [*ggufs, *(f"{BESIDE}{kind}" for kind in ggufs), *optional]


def check_formats(formats: Sequence[str], *, install: bool = False) -> None:
    """Raises UserError for a format that is unknown, named twice, or cannot be run on this machine.

    `install`: the environment of llmcompressor may be missing, and some format must want it.
    """
    here = here_now()
    for format in formats:
        if format.removeprefix(BESIDE) in K_QUANTS and format not in here:
            raise UserError(
                f"'{format}' needs {kquants.TOOL}, which is not on the PATH.",
                fix=f"Install llama.cpp's tools, or take one of: {', '.join(here)}.",
            )
        if format in LIBRARIES and not find_spec(LIBRARIES[format][0]):
            library, extra = LIBRARIES[format]
            raise MissingExtra(library, extra=extra, wanted_for=f"'{format}'")
        if format in LLMCOMPRESSOR and not install:
            llmcompressor.python()
        if format not in (*here, *LLMCOMPRESSOR):
            raise UserError(
                f"'{format}' is no format to quantise to.",
                fix=nearest(
                    format,
                    ADAPTED if format.startswith("adapter") else [*PLAIN, *K_QUANTS, *LIBRARIES],
                ),
            )
    if install and not set(LLMCOMPRESSOR) & set(formats):
        raise UserError(
            f"--install has no meaning for --to {','.join(formats)}.",
            fix=f"It makes the environment of {', '.join(LLMCOMPRESSOR)}: name one, or leave it out.",
        )
    if not formats or len(set(formats)) < len(formats):
        raise UserError(
            f"--to '{','.join(formats)}' names no format, or one twice.", fix="Try --to q8_0,q4_0."
        )


def check_bundle(bundle: Bundle, formats: Sequence[str]) -> None:
    """Raises BundleError for a bundle without whole weights, ModelError for a model that is not converted."""
    reason, reference = weights.lacking(bundle), weights.made_from(bundle)
    if reason:
        raise BundleError(
            f"'{bundle.name}' {reason}: it cannot be quantised.",
            fix=f"Quantise the bundle that it was made from: {reference}"
            if reference
            else "Name a language model bundle that is not quantised yet, such as lm-lora.",
        )
    for format in formats:
        if format in OPENVINO:
            weights.check_openvino(bundle, BITS[format])
        elif format in BITSANDBYTES:
            weights.check_bitsandbytes(bundle, BNB_KINDS[format])
        elif format in LLM_KINDS:
            weights.check_llmcompressor(bundle, LLM_KINDS[format])
        elif format in GENAI:
            weights.check_shape(bundle)
        else:
            weights.check_gguf(bundle)
        if format in ADAPTED:
            weights.check_adapter(bundle)
