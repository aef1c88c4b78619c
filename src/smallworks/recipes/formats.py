"""Which smaller forms a bundle can be quantised to on this machine; and which not, with the reason."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

from smallworks.bundle import Bundle
from smallworks.bundle.manifest import K_QUANTS
from smallworks.compress import GgufKind, kquants
from smallworks.errors import BundleError, UserError, nearest
from smallworks.recipes import weights

PLAIN: tuple[GgufKind, ...] = get_args(GgufKind)
LATER_LLMCOMPRESSOR = "it takes llmcompressor, in an environment of its own, and a GPU server for its files"
LATER_BITSANDBYTES = "bitsandbytes quantises while it loads, and no engine here serves a bundle in it"
ELSEWHERE = {
    "bnb-8bit": LATER_BITSANDBYTES,
    "bnb-4bit": LATER_BITSANDBYTES,
    "gptq": LATER_LLMCOMPRESSOR,
    "awq": LATER_LLMCOMPRESSOR,
    "w8a8": LATER_LLMCOMPRESSOR,
    "openvino-int8": "there is no OpenVINO engine yet",
    "openvino-int4": "there is no OpenVINO engine yet",
    "onnx-int4": "there is no engine for onnxruntime-genai yet",
}
"""Formats that are known and cannot be run here, with the reason."""


def check_formats(formats: Sequence[str]) -> None:
    """Raises UserError for a format that is unknown, named twice, or cannot be run on this machine."""
    here = [*PLAIN, *(K_QUANTS if kquants.there() else ())]
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
        if format not in here:
            raise UserError(
                f"'{format}' is no format to quantise to.",
                fix=nearest(format, [*PLAIN, *K_QUANTS, *ELSEWHERE]),
            )
    if not formats or len(set(formats)) < len(formats):
        raise UserError(
            f"--to '{','.join(formats)}' names no format, or one twice.", fix="Try --to q8_0,q4_0."
        )


def check_bundle(bundle: Bundle) -> None:
    """Raises BundleError for a bundle without whole weights, ModelError for a model that is not converted."""
    reason, reference = weights.lacking(bundle), weights.made_from(bundle)
    if reason:
        raise BundleError(
            f"'{bundle.name}' {reason}: it cannot be quantised.",
            fix=f"Quantise the bundle that it was made from: {reference}"
            if reference
            else "Name a language model bundle that is not quantised yet, such as lm-lora.",
        )
    weights.check_gguf(bundle)
