"""Smaller forms of a tuned model: an adapter merged into its base, a folder turned into GGUF."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, get_args

from smallworks.seams import Progress, silent

GgufKind = Literal["f32", "f16", "bf16", "q8_0", "q4_0"]


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


def kinds_here() -> tuple[GgufKind, ...]:
    """The GGUF kinds that `quantize` makes on this machine: all of them, since none needs more than numpy."""
    return get_args(GgufKind)


__all__ = ["GgufKind", "convert_adapter", "kinds_here", "merge", "quantize"]
