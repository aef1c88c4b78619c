"""The header of a GGUF file, read without its weights: metadata, tokens, and whether the file is whole.

llama.cpp says no more than "failed" about a broken file; this says what is wrong. The layout is
llama.cpp's `docs/gguf.md`, versions 2 and 3, little-endian. Knows nothing of what the values mean.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smallworks.errors import ModelError

MAGIC = b"GGUF"
SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
STRING, ARRAY = 8, 9
ALIGNMENT = 32
# fmt: off
BLOCKS = {
    0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34), 9: (32, 40),
    10: (256, 84), 11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210), 15: (256, 292),
    16: (256, 66), 17: (256, 74), 18: (256, 98), 19: (256, 50), 20: (32, 18), 21: (256, 110), 22: (256, 82),
    23: (256, 136), 24: (1, 1), 25: (1, 2), 26: (1, 4), 27: (1, 8), 28: (1, 8), 29: (256, 56), 30: (1, 2),
    34: (256, 54), 35: (256, 66), 39: (32, 17), 40: (64, 36), 41: (128, 18),
}
# fmt: on
"""Numbers in a block and its bytes, by the type of a tensor. As the gguf package has them, whose import
takes a tenth of a server's start."""
SKIPPED = frozenset({"tokenizer.ggml.merges", "tokenizer.ggml.scores"})
"""Long arrays that nobody asks for; they read as empty."""


@dataclass(frozen=True, kw_only=True)
class Header:
    """What a GGUF file says of itself. `tensors` maps each name to its shape, innermost axis first."""

    path: Path
    metadata: Mapping[str, Any]
    tensors: Mapping[str, tuple[int, ...]]

    @property
    def architecture(self) -> str:
        return str(self.metadata.get("general.architecture", "unknown"))

    def of_architecture(self, key: str, default: Any = None) -> Any:
        """The value of `{architecture}.{key}`, e.g. 'context_length'."""
        return self.metadata.get(f"{self.architecture}.{key}", default)


def read(path: Path) -> Header:
    """The header of the file at `path`. Raises ModelError when it is missing, no GGUF, or cut off."""
    if not path.is_file():
        what = f"'{path}' is a folder, not a GGUF file." if path.is_dir() else f"No model file at '{path}'."
        raise ModelError(what, fix="Give the path of a .gguf file.")
    size = path.stat().st_size
    with path.open("rb") as file:
        first = file.read(len(MAGIC))
    if first != MAGIC:
        raise ModelError(
            f"'{path}' is not a GGUF file: it begins with {first!r}.",
            fix="Give a .gguf file, or convert a Hugging Face folder to one first.",
        )
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        try:
            return _Reader(path, data).header()
        except (struct.error, UnicodeDecodeError, OverflowError) as error:
            raise _truncated(path, size, None) from error


class _Reader:
    def __init__(self, path: Path, data: mmap.mmap) -> None:
        self._path = path
        self._data = data
        self._at = len(MAGIC)

    def header(self) -> Header:
        (version,) = self._take("<I")
        if version not in (2, 3):
            raise ModelError(f"'{self._path}' has GGUF version {version}.", fix="Convert it to version 3.")
        count, pairs = self._take("<QQ")
        metadata = {}
        for _ in range(pairs):
            key = self._string()
            (kind,) = self._take("<I")
            metadata[key] = self._value(kind, skip=key in SKIPPED)
        tensors = [self._tensor() for _ in range(count)]
        self._check_size(tensors, int(metadata.get("general.alignment") or ALIGNMENT))
        return Header(
            path=self._path, metadata=metadata, tensors={name: shape for name, shape, _, _ in tensors}
        )

    def _take(self, layout: str) -> tuple[Any, ...]:
        values = struct.unpack_from(layout, self._data, self._at)
        self._at += struct.calcsize(layout)
        return values

    def _string(self) -> str:
        (length,) = self._take("<Q")
        raw = self._data[self._at : self._at + length]
        if len(raw) < length:
            raise struct.error("string past the end")
        self._at += length
        # Some old converters wrote broken UTF-8 tokens; they are never looked up by text.
        return raw.decode("utf-8", "replace")

    def _value(self, kind: int, *, skip: bool) -> Any:
        if kind == STRING:
            return self._string()
        if kind != ARRAY:
            return self._take(f"<{self._code(kind)}")[0]
        inner, length = self._take("<IQ")
        if inner != STRING:
            values = self._take(f"<{length}{self._code(inner)}")
            return () if skip else values
        if not skip:
            return tuple(self._string() for _ in range(length))
        for _ in range(length):
            self._at += 8 + struct.unpack_from("<Q", self._data, self._at)[0]
        return ()

    def _code(self, kind: int) -> str:
        if kind not in SCALARS:
            raise ModelError(
                f"'{self._path}' holds a value of unknown type {kind}.",
                fix="Download or convert the file again.",
            )
        return SCALARS[kind]

    def _tensor(self) -> tuple[str, tuple[int, ...], int, int]:
        name = self._string()
        (axes,) = self._take("<I")
        shape = self._take(f"<{axes}Q")
        kind, offset = self._take("<IQ")
        return name, shape, kind, offset

    def _check_size(self, tensors: list[tuple[str, tuple[int, ...], int, int]], alignment: int) -> None:
        """Raises ModelError when the weights are cut off. Unknown types are llama.cpp's to refuse."""
        start = -(-self._at // alignment) * alignment
        needed = start
        for _, shape, kind, offset in tensors:
            block, width = BLOCKS.get(kind, (1, 0))
            elements = 1
            for axis in shape:
                elements *= axis
            needed = max(needed, start + offset + elements // block * width)
        if needed > len(self._data):
            raise _truncated(self._path, len(self._data), needed)


def _truncated(path: Path, size: int, needed: int | None) -> ModelError:
    """The one sentence for a file that ends too early."""
    rest = f"of at least {needed:,} bytes" if needed else "bytes and ends inside its header"
    return ModelError(
        f"The GGUF file '{path}' is cut off: it holds {size:,} {rest}.",
        fix="Download or convert the file again.",
    )
