"""Which models become GGUF, and which are refused because llama.cpp would run them differently."""

import json

import numpy as np
import pytest
import torch
from transformers import LlamaConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from smallworks.compress import shape
from smallworks.errors import ModelError

LLAMA = {
    "model_type": "llama",
    "num_hidden_layers": 2,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_attention_heads": 4,
    "max_position_embeddings": 256,
    "vocab_size": 300,
    "rms_norm_eps": 1e-5,
}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 5e5,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}


@pytest.fixture
def read(tmp_path):
    def read(**changes):
        (tmp_path / "config.json").write_text(json.dumps(LLAMA | changes))
        return shape.read(tmp_path)

    return read


def test_reads_a_llama(read):
    facts = read()
    assert (facts.architecture, facts.kv_heads, facts.head_dim, facts.theta) == ("llama", 4, 16, 10000.0)
    assert facts.permuted and not facts.tied


def test_reads_rope_settings_of_both_generations_of_transformers(read):
    assert read(rope_theta=5e5).theta == 5e5
    assert read(rope_parameters={"rope_type": "default", "rope_theta": 1e6}).theta == 1e6
    assert read(rope_scaling={"type": "linear", "factor": 2.0}).rope["rope_type"] == "linear"


def test_llama_3_factors_are_those_of_transformers(read):
    factors = read(rope_parameters=LLAMA3).rope_factors()
    config = LlamaConfig(**{k: v for k, v in LLAMA.items() if k != "model_type"}, rope_parameters=LLAMA3)
    scaled, _ = ROPE_INIT_FUNCTIONS["llama3"](config, torch.device("cpu"))
    plain = 1.0 / 5e5 ** (np.arange(0, 16, 2) / 16)
    assert plain / factors == pytest.approx(scaled.numpy(), rel=1e-5)


def test_a_sliding_window_bounds_the_context(read):
    assert read(model_type="mistral", sliding_window=128).context == 128
    assert read(model_type="qwen2", sliding_window=128, use_sliding_window=False).context == 256


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model_type": "gpt_neox"}, "gpt_neox"),
        ({"hidden_act": "gelu"}, "hidden_act = 'gelu'"),
        ({"rope_scaling": {"rope_type": "yarn", "factor": 4.0}}, "rope_type = 'yarn'"),
        ({"partial_rotary_factor": 0.5}, "partial_rotary_factor"),
        ({"model_type": "qwen2", "head_dim": 32}, "head_dim = 32"),
    ],
)
def test_what_is_not_known_is_refused(read, changes, said):
    with pytest.raises(ModelError, match=said):
        read(**changes)


def test_a_folder_without_a_model_is_named(tmp_path):
    with pytest.raises(ModelError, match=r"holds no config\.json"):
        shape.read(tmp_path)
