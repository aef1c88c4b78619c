"""A weight matrix as whole numbers and float16 scales: 8 bits a row, or 4 bits a group of columns.

The arithmetic of NNCF's int8_sym and int4_sym without data. Knows nothing of graphs or files.
"""

from __future__ import annotations

import numpy as np

from smallworks.errors import ModelError

GROUP = 32
"""Columns that share a scale of 4-bit weights, as in GGUF's q4_0."""


def int8(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """[out, in] → whole numbers from −127 to 127, and a scale a row [out, 1]."""
    scales = _scales(np.abs(values).max(axis=1, keepdims=True) / 127)
    return np.rint(values / scales.astype(np.float32)).clip(-127, 127).astype(np.int8), scales


def int4(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """[out, in] → whole numbers from −8 to 7, and a scale a group: [out, in / GROUP, GROUP] and […, 1].

    The value furthest from 0 becomes −8, so that all sixteen numbers are used. Raises ModelError for a
    width that groups do not fill.
    """
    check_width(values.shape[1])
    groups = values.reshape(len(values), -1, GROUP)
    furthest = np.take_along_axis(groups, np.abs(groups).argmax(axis=2, keepdims=True), axis=2)
    scales = _scales(furthest / -8)
    return np.rint(groups / scales.astype(np.float32)).clip(-8, 7).astype(np.int8), scales


def check_width(columns: int) -> None:
    """Raises ModelError for a width that groups of 4-bit weights do not fill."""
    if columns % GROUP:
        raise ModelError(
            f"A weight with {columns} columns cannot be stored in 4 bits: groups of {GROUP} do not fill it.",
            fix="Take 8 bits for this model.",
        )


def nibbles(whole: np.ndarray) -> np.ndarray:
    """Two 4-bit numbers a byte, the earlier one in the lower half."""
    low = whole.reshape(-1).view(np.uint8) & 0xF
    return low[0::2] | low[1::2] << 4


def _scales(exact: np.ndarray) -> np.ndarray:
    """In float16, 1 where all values are 0 or too small for it."""
    rounded = exact.astype(np.float16)
    return np.where(rounded == 0, np.float16(1), rounded)
