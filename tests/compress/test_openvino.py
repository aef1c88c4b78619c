"""Graphs written by hand answer as transformers does, for every shape that is taken."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from smallworks import compress, starter
from smallworks.compress import openvino
from smallworks.engines.openvino import OpenVino
from smallworks.errors import ModelError
from smallworks.types import Choices, Prompt

torch = pytest.importorskip("torch")
# Looked for, not imported: an import of its own would tell its maker.
pytestmark = pytest.mark.skipif(find_spec("openvino") is None, reason="openvino is not installed")

SIZES: dict[str, Any] = {
    "vocab_size": 4096,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "initializer_range": 0.2,
}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 10000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
SHAPES = {
    "llama": ("LlamaConfig", {}),
    "llama, tied": ("LlamaConfig", {"tie_word_embeddings": True}),
    "llama, biases": ("LlamaConfig", {"attention_bias": True, "mlp_bias": True}),
    "llama, every head its own keys": ("LlamaConfig", {"num_key_value_heads": 4}),
    "llama 3's rope": ("LlamaConfig", {"rope_parameters": LLAMA3}),
    "linear rope": ("LlamaConfig", {"rope_parameters": {**LLAMA3, "rope_type": "linear"}}),
    "qwen2": ("Qwen2Config", {}),
    "qwen3": ("Qwen3Config", {"head_dim": 32}),
}
IDS = tuple(range(10, 70))


def saved(folder: Path, kind: str, changes: dict[str, Any]) -> Any:
    import transformers

    torch.manual_seed(0)
    config = getattr(transformers, kind)(**{**SIZES, **changes})
    model = transformers.AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for name, values in model.named_parameters():
            if name.endswith(("bias", "norm.weight")):
                values.add_(torch.randn_like(values) * 0.2)
    model.save_pretrained(folder)
    return model.eval()


@pytest.mark.parametrize(("kind", "changes"), SHAPES.values(), ids=SHAPES)
def test_every_shape_answers_as_transformers_does(
    kind: str, changes: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With whole weights, so that nothing but the graph can differ."""
    whole = saved(tmp_path / "model", kind, changes)
    monkeypatch.setattr(openvino._Graph, "_matrix", lambda self, name, bits: _exact(self, name))
    engine = OpenVino(compress.to_openvino(tmp_path / "model", tmp_path / "out", 8), starter.MODEL, threads=1)
    choices = Choices(labels=tuple("abcd"), ids=(5, 50, 500, 4000))
    with torch.inference_mode():
        logits = whole(torch.tensor([IDS])).logits[0, -1, list(choices.ids)]
    expected = torch.log_softmax(logits.double(), -1).numpy()
    assert engine.score([Prompt(text="", ids=IDS)], choices)[0] == pytest.approx(expected, abs=1e-4)
    assert engine.context == 256


def _exact(graph: Any, name: str) -> Any:
    return graph._op.constant(graph._weights.read(name))


def test_four_bits_take_less_room_than_eight_and_err_more(tmp_path: Path) -> None:
    whole = saved(tmp_path / "model", "LlamaConfig", {})
    with torch.inference_mode():
        logits = whole(torch.tensor([IDS])).logits[0, -1].double().numpy()
    size, off = {}, {}
    for bits in (4, 8):
        out = compress.to_openvino(tmp_path / "model", tmp_path / f"int{bits}", bits)  # type: ignore[arg-type]
        request = OpenVino(out, starter.MODEL, threads=1)._begin()
        size[bits] = (out / "model.bin").stat().st_size
        off[bits] = float(np.abs(request(IDS) - logits).mean() / logits.std())
    assert size[4] < size[8] and 0 < off[8] < off[4] / 3 < 0.2


def test_what_does_not_fit_is_refused_from_the_config_alone(tmp_path: Path) -> None:
    saved(tmp_path / "odd", "LlamaConfig", {"intermediate_size": 100})
    compress.check_openvino(tmp_path / "odd", 8)
    with pytest.raises(ModelError, match="100 columns cannot be stored in 4 bits"):
        compress.check_openvino(tmp_path / "odd", 4)
    with pytest.raises(ModelError, match=r"no config\.json"):
        compress.to_openvino(tmp_path, tmp_path / "out", 8)
