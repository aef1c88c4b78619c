"""Tensors in and out of safetensors, bfloat16 included, without torch."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from safetensors.torch import load_file, save_file

from smallworks.compress.weights import INDEX, Weights, decode, encode, write
from smallworks.errors import ModelError

FLOATS = arrays(np.float32, st.integers(0, 40), elements=st.floats(width=32, allow_subnormal=False))


@given(FLOATS)
def test_bfloat16_rounds_as_torch_does(tensor):
    expected = torch.from_numpy(tensor.copy()).bfloat16().float().numpy()
    np.testing.assert_array_equal(decode(encode(tensor, "BF16"), "BF16"), expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_reads_what_torch_wrote(tmp_path, dtype):
    tensor = torch.randn(7, 5).to(dtype)
    save_file({"w": tensor}, tmp_path / "model.safetensors")
    weights = Weights(tmp_path)
    assert (list(weights), weights.shape("w")) == (["w"], (7, 5))
    np.testing.assert_array_equal(weights.read("w"), tensor.float().numpy())


def test_torch_reads_what_it_wrote(tmp_path):
    tensor = np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 3)
    plan = {"a": ("F32", (2, 3)), "b": ("BF16", (2, 3)), "c": ("F16", (2, 3))}
    write(tmp_path / "w.safetensors", plan, [tensor] * 3)
    back = load_file(tmp_path / "w.safetensors")
    assert [back[name].dtype for name in "abc"] == [torch.float32, torch.bfloat16, torch.float16]
    np.testing.assert_array_equal(back["a"].numpy(), tensor)


def test_shards_are_read_together(tmp_path):
    save_file({"a": torch.ones(2)}, tmp_path / "one.safetensors")
    save_file({"b": torch.zeros(3)}, tmp_path / "two.safetensors")
    index = {"weight_map": {"a": "one.safetensors", "b": "two.safetensors"}}
    (tmp_path / INDEX).write_text(json.dumps(index))
    weights = Weights(tmp_path)
    assert sorted(weights) == ["a", "b"]
    assert weights.read("b").shape == (3,)


def test_a_missing_shard_is_named(tmp_path):
    (tmp_path / INDEX).write_text(json.dumps({"weight_map": {"a": "gone.safetensors"}}))
    with pytest.raises(ModelError, match=r"gone\.safetensors"):
        Weights(tmp_path)


@pytest.mark.parametrize("keep", [0, 5, 60, -4])
def test_a_file_cut_off_says_so(tmp_path, keep):
    save_file({"w": torch.randn(8, 8)}, tmp_path / "model.safetensors")
    whole = (tmp_path / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(whole[:keep])
    with pytest.raises(ModelError, match="not a whole safetensors file"):
        Weights(tmp_path)


def test_integers_are_no_weights(tmp_path):
    save_file({"w": torch.ones(3, dtype=torch.int8)}, tmp_path / "model.safetensors")
    with pytest.raises(ModelError, match="type I8"):
        Weights(tmp_path).read("w")
