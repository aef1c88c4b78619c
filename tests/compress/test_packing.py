"""Weights as whole numbers and scales: how far they err, and how they lie in bytes."""

from __future__ import annotations

import numpy as np
import pytest

from smallworks.compress import packing
from smallworks.errors import ModelError

VALUES = np.random.default_rng(0).normal(size=(6, 96)).astype(np.float32)


def test_eight_bits_err_by_half_a_step_at_most() -> None:
    whole, scales = packing.int8(VALUES)
    assert (whole.dtype, scales.shape, scales.dtype) == (np.int8, (6, 1), np.float16)
    # Half a step, and what rounding the scale to float16 moves the largest value by.
    allowed = scales.astype(np.float32) * (0.5 + 127 * 2**-11)
    assert (np.abs(whole * scales.astype(np.float32) - VALUES) <= allowed).all()


def test_four_bits_err_by_half_a_step_within_each_group_but_at_the_far_side() -> None:
    whole, scales = packing.int4(VALUES)
    assert (whole.shape, scales.shape) == ((6, 3, 32), (6, 3, 1))
    assert (whole.min(axis=2) == -8).all() and whole.max() <= 7
    steps = np.abs(scales.astype(np.float32))
    assert (np.abs(whole * scales.astype(np.float32) - VALUES.reshape(6, 3, 32)) <= steps * 1.01).all()


def test_nothing_but_zeros_stays_zeros() -> None:
    for pack in (packing.int8, packing.int4):
        whole, scales = pack(np.zeros((2, 32), np.float32))
        assert not whole.any() and (scales == 1).all()


def test_two_numbers_share_a_byte_the_earlier_one_below() -> None:
    assert packing.nibbles(np.array([[-8, 7, -1, 1]], np.int8)).tolist() == [0x78, 0x1F]


def test_a_width_that_groups_do_not_fill_is_refused() -> None:
    with pytest.raises(ModelError, match="48 columns cannot be stored in 4 bits"):
        packing.int4(np.zeros((2, 48), np.float32))
