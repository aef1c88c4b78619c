"""Which smaller forms a bundle can be quantised to on this machine; and which not, with the reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import get_args

from smallworks.bundle import Bundle
from smallworks.bundle.manifest import BITSANDBYTES, GENAI, K_QUANTS, OPENVINO
from smallworks.compress import Bits, BnbKind, GgufKind, kquants
from smallworks.errors import BundleError, MissingExtra, UserError, nearest
from smallworks.recipes import weights

PLAIN: tuple[GgufKind, ...] = get_args(GgufKind)
LATER_LLMCOMPRESSOR = "it takes llmcompressor, in an environment of its own, and a GPU server for its files"
BITS: Mapping[str, Bits] = {"openvino-int8": 8, "openvino-int4": 4}
BNB_KINDS: Mapping[str, BnbKind] = {"bnb-8bit": "int8", "bnb-4bit": "nf4"}
LIBRARIES = {
    **dict.fromkeys(OPENVINO, ("openvino", "openvino")),
    **dict.fromkeys(GENAI, ("onnxruntime_genai", "genai")),
    **dict.fromkeys(BITSANDBYTES, ("bitsandbytes", "quant")),
}
"""What a format needs beyond the core, and the extra that brings it."""
ELSEWHERE = {
    "gptq": LATER_LLMCOMPRESSOR,
    "awq": LATER_LLMCOMPRESSOR,
    "w8a8": LATER_LLMCOMPRESSOR,
}
"""Formats that are known and cannot be run here, with the reason."""


def here_now() -> list[str]:
    """The formats that this machine can make and run."""
    optional = [format for format, (library, _) in LIBRARIES.items() if find_spec(library)]
    return [*PLAIN, *(K_QUANTS if kquants.there() else ()), *optional]


def check_formats(formats: Sequence[str]) -> None:
    """Raises UserError for a format that is unknown, named twice, or cannot be run on this machine."""
    here = here_now()
    for format in formats:
        if format in ELSEWHERE:
            raise UserError(
                f"'{format}' does not run here: {ELSEWHERE[format]}.", fix=f"Here: {', '.join(here)}."
            )
        if format in K_QUANTS and format not in here:
            raise UserError(
                f"'{format}' needs {kquants.TOOL}, which is not on the PATH.",
                fix=f"Install llama.cpp's tools, or take one of: {', '.join(here)}.",
            )
        if format in LIBRARIES and format not in here:
            library, extra = LIBRARIES[format]
            raise MissingExtra(library, extra=extra, wanted_for=f"'{format}'")
        if format not in here:
            raise UserError(
                f"'{format}' is no format to quantise to.",
                fix=nearest(format, [*PLAIN, *K_QUANTS, *LIBRARIES]),
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
        elif format in GENAI:
            weights.check_shape(bundle)
        else:
            weights.check_gguf(bundle)
