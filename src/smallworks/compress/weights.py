"""Tensors of a Hugging Face folder, one at a time, in float32; and safetensors written the same way.

Needs numpy alone: bfloat16, which numpy lacks, is the upper half of a float32. The format is
https://github.com/huggingface/safetensors#format. Knows nothing of what the tensors are for.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import numpy as np

from smallworks.errors import ModelError
from smallworks.files import read_json

Dtype = Literal["F32", "F16", "BF16"]
WIDTHS: Mapping[str, int] = {"F32": 4, "F16": 2, "BF16": 2}
INDEX = "model.safetensors.index.json"


class Weights:
    """The tensors of a folder, or of one safetensors file, by name. Raises ModelError for a broken one."""

    def __init__(self, where: Path) -> None:
        self.path = where
        self._entries: dict[str, tuple[Path, int, Mapping[str, Any]]] = {}
        for path in _files(where):
            start, header = _header(path)
            for name, entry in header.items():
                self._entries[name] = (path, start, entry)

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __len__(self) -> int:
        return len(self._entries)

    def shape(self, name: str) -> tuple[int, ...]:
        return tuple(self._entries[name][2]["shape"])

    def dtype(self, name: str) -> str:
        """The type on disk, as safetensors names it, e.g. 'BF16'."""
        return str(self._entries[name][2]["dtype"])

    def read(self, name: str) -> np.ndarray:
        """The tensor in float32. Raises ModelError for a type that is no plain float."""
        path, start, entry = self._entries[name]
        if entry["dtype"] not in WIDTHS:
            raise ModelError(
                f"Tensor '{name}' in '{path}' has type {entry['dtype']}; only F32, F16 and BF16 are read.",
                fix="Take the unquantised version of the model.",
            )
        begin, end = entry["data_offsets"]
        with path.open("rb") as file:
            file.seek(start + begin)
            return decode(file.read(end - begin), entry["dtype"]).reshape(entry["shape"])


def decode(raw: bytes, dtype: str) -> np.ndarray:
    """Bytes of one tensor as flat float32."""
    if dtype == "BF16":
        return (np.frombuffer(raw, "<u2").astype(np.uint32) << 16).view(np.float32)
    return np.frombuffer(raw, "<f2" if dtype == "F16" else "<f4").astype(np.float32)


def encode(tensor: np.ndarray, dtype: Dtype) -> bytes:
    """Bytes of a float32 tensor in `dtype`; bfloat16 rounds to nearest, ties to even."""
    if dtype == "BF16":
        bits = np.ascontiguousarray(tensor, np.float32).view(np.uint32).astype(np.uint64)
        rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
        return np.where(np.isnan(tensor), 0x7FC0, rounded).astype("<u2").tobytes()
    return tensor.astype("<f2" if dtype == "F16" else "<f4").tobytes()


def write(
    path: Path, plan: Mapping[str, tuple[Dtype, tuple[int, ...]]], tensors: Iterable[np.ndarray]
) -> None:
    """A safetensors file of the planned tensors, which come in the plan's order."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    at = 0
    for name, (dtype, shape) in plan.items():
        size = WIDTHS[dtype] * int(np.prod(shape, dtype=np.int64))
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for (dtype, _), tensor in zip(plan.values(), tensors, strict=True):
            file.write(encode(tensor, dtype))


def _files(where: Path) -> list[Path]:
    if where.is_file():
        return [where]
    if (where / INDEX).is_file():
        shards = sorted(set(read_json(where / INDEX)["weight_map"].values()))
        paths = [where / Path(shard).name for shard in shards]
    else:
        paths = [where / "model.safetensors"]
    for path in paths:
        if not path.is_file():
            raise ModelError(
                f"No weights at '{path}'.",
                fix="Download the model again, in safetensors, with all its shards.",
            )
    return paths


def _header(path: Path) -> tuple[int, Mapping[str, Any]]:
    """Where the data begin, and the entries by name; checked against the file's size."""
    size = path.stat().st_size
    with path.open("rb") as file, suppress(struct.error, ValueError, KeyError, TypeError):
        (length,) = struct.unpack("<Q", file.read(8))
        if length > size:
            raise ValueError
        header = json.loads(file.read(length))
        header.pop("__metadata__", None)
        if 8 + length + max((entry["data_offsets"][1] for entry in header.values()), default=0) <= size:
            return 8 + length, header
    raise ModelError(
        f"'{path}' is not a whole safetensors file ({size:,} bytes).", fix="Download the model again."
    )
