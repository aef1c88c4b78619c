"""LoRA merged by hand against PEFT's own merge."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from smallworks.engines import adapter
from smallworks.errors import ModelError

torch = pytest.importorskip("torch")


def model() -> torch.nn.Module:
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=64,
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            num_key_value_heads=1,
        )
    )


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"use_rslora": True}, {"rank_pattern": {"q_proj": 2}}])
def test_merging_equals_peft(tmp_path: Path, options: dict[str, object]) -> None:
    peft = pytest.importorskip("peft")
    config = peft.LoraConfig(
        r=4, lora_alpha=8, target_modules="all-linear", init_lora_weights=False, **options
    )
    tuned = peft.get_peft_model(model(), config)
    tuned.save_pretrained(tmp_path)
    ours = model()
    adapter.merge(ours, tmp_path)
    theirs = dict(tuned.merge_and_unload().named_parameters())
    assert all(torch.allclose(value, theirs[name], atol=1e-6) for name, value in ours.named_parameters())
    assert not torch.allclose(
        next(iter(model().model.layers[0].mlp.parameters())), theirs["model.layers.0.mlp.gate_proj.weight"]
    )


def test_a_missing_adapter_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"there is no adapter_config\.json"):
        adapter.configuration(tmp_path)


@pytest.mark.parametrize(
    ("config", "said"),
    [({"peft_type": "IA3"}, "is IA3"), ({"peft_type": "LORA", "use_dora": True}, "use_dora")],
)
def test_other_methods_are_refused_by_name(tmp_path: Path, config: dict[str, object], said: str) -> None:
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    (tmp_path / "adapter_model.safetensors").touch()
    with pytest.raises(ModelError, match=said):
        adapter.configuration(tmp_path)


def test_an_adapter_of_another_base_does_not_fit(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    name = "base_model.model.model.layers.0.self_attn.q_proj"
    halves = {f"{name}.lora_A.weight": torch.ones(2, 99), f"{name}.lora_B.weight": torch.ones(16, 2)}
    save_file(halves, tmp_path / "adapter_model.safetensors")
    (tmp_path / "adapter_config.json").write_text('{"peft_type": "LORA", "r": 2, "lora_alpha": 4}')
    with pytest.raises(ModelError, match=r"should be \(16, 99\), but is \(16, 16\)"):
        adapter.merge(model(), tmp_path)
