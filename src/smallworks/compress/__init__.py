"""Smaller forms of a tuned model: an adapter merged into its base, a folder turned into GGUF."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, get_args

from smallworks.seams import Progress, silent

GgufKind = Literal["f32", "f16", "bf16", "q8_0", "q4_0"]
Bits = Literal[4, 8]
BnbKind = Literal["int8", "nf4"]


def quantize(folder: Path, out: Path, kind: GgufKind, progress: Progress = silent) -> Path:
    """A Hugging Face folder as the GGUF file `out`. Raises ModelError for a model that does not convert."""
    from smallworks.compress import gguf

    return gguf.convert(folder, out, kind, progress)


def merge(base: Path, adapter: Path, out: Path, progress: Progress = silent) -> Path:
    """The model folder `out`: `base` with a PEFT LoRA adapter added into its weights. Raises ModelError."""
    from smallworks.compress import adapter as adapters

    return adapters.merge(base, adapter, out, progress)


def convert_adapter(base: Path, adapter: Path, out: Path) -> Path:
    """A PEFT LoRA adapter as the GGUF adapter file `out`, for an engine that applies it to the GGUF base."""
    from smallworks.compress import adapter as adapters

    return adapters.convert(base, adapter, out)


def to_openvino(folder: Path, out: Path, bits: Bits, progress: Progress = silent) -> Path:
    """A Hugging Face folder as the folder `out` for the openvino engine. Raises ModelError."""
    from smallworks.compress import openvino

    return openvino.convert(folder, out, bits, progress)


def check_openvino(folder: Path, bits: Bits) -> None:
    """Raises ModelError for a model that `to_openvino` would refuse, from its config alone."""
    from smallworks.compress import openvino

    openvino.check(folder, bits)


def to_bitsandbytes(folder: Path, out: Path, kind: BnbKind, progress: Progress = silent) -> Path:
    """A Hugging Face folder as the folder `out` in bitsandbytes' 8 or 4 bits, made in a child process."""
    from smallworks.compress import bitsandbytes

    return bitsandbytes.convert(folder, out, kind, progress)


def check_bitsandbytes(folder: Path, kind: BnbKind) -> None:
    """Raises ModelError for a model that `to_bitsandbytes` would refuse, from its headers alone."""
    from smallworks.compress import bitsandbytes

    bitsandbytes.check(folder, kind)


def to_genai(folder: Path, out: Path, progress: Progress = silent) -> Path:
    """A Hugging Face folder as int4 ONNX in the folder `out`, made in a child process."""
    from smallworks.compress import genai

    return genai.convert(folder, out, progress)


def kinds_here() -> tuple[GgufKind, ...]:
    """The GGUF kinds that `quantize` makes on this machine: all of them, since none needs more than numpy."""
    return get_args(GgufKind)


__all__ = [
    "Bits",
    "BnbKind",
    "GgufKind",
    "check_bitsandbytes",
    "check_openvino",
    "convert_adapter",
    "kinds_here",
    "merge",
    "quantize",
    "to_bitsandbytes",
    "to_genai",
    "to_openvino",
]
