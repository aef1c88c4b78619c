"""Adapters merged as PEFT merges them, applied by llama.cpp as PEFT applies them, or refused."""

import json

import numpy as np
import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from smallworks import compress
from smallworks.compress import adapter
from smallworks.engines.llamacpp import LlamaCpp
from smallworks.errors import ModelError
from smallworks.types import Choices, Prompt

CHOICES = Choices(labels=tuple(map(str, range(60))), ids=tuple(range(20, 80)))
IDS = tuple(range(40, 90))


def base_of(folder):
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)


def trained(folder, out, **options):
    """A PEFT adapter over `folder` whose B is not zero."""
    torch.manual_seed(1)
    settings = {"r": 4, "lora_alpha": 12, "target_modules": "all-linear", "task_type": "CAUSAL_LM"} | options
    tuned = get_peft_model(base_of(folder), LoraConfig(**settings))
    for name, weight in tuned.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.05)
    tuned.save_pretrained(out)
    return out


@pytest.mark.parametrize(
    "options", [{}, {"use_rslora": True}, {"r": 1, "target_modules": ["q_proj", "v_proj"]}]
)
def test_merging_gives_the_weights_that_peft_gives(tiny_folder, tmp_path, options):
    lora = trained(tiny_folder, tmp_path / "lora", **options)
    merged = compress.merge(tiny_folder, lora, tmp_path / "merged")
    ours = AutoModelForCausalLM.from_pretrained(merged, dtype="auto").state_dict()
    theirs = PeftModel.from_pretrained(base_of(tiny_folder), lora).merge_and_unload().state_dict()
    assert ours.keys() == theirs.keys()
    for name, tensor in theirs.items():
        assert ours[name].dtype == torch.float32
        torch.testing.assert_close(ours[name], tensor, atol=1e-6, rtol=1e-5)
    assert not torch.equal(
        ours["model.layers.0.self_attn.q_proj.weight"],
        base_of(tiny_folder).state_dict()["model.layers.0.self_attn.q_proj.weight"],
    )


def test_a_merged_folder_is_a_whole_model(tiny_folder, tmp_path):
    before = {path.name: path.read_bytes() for path in tiny_folder.iterdir()}
    merged = compress.merge(tiny_folder, trained(tiny_folder, tmp_path / "lora"), tmp_path / "merged")
    assert {path.name for path in merged.iterdir()} == set(before)
    assert {path.name: path.read_bytes() for path in tiny_folder.iterdir()} == before
    compress.quantize(merged, tmp_path / "m.gguf", "q8_0")


def test_a_large_merge_keeps_the_type_of_its_base(tiny_folder, tmp_path, monkeypatch):
    base = tmp_path / "base"
    AutoModelForCausalLM.from_pretrained(tiny_folder, dtype=torch.bfloat16).save_pretrained(base)
    monkeypatch.setattr(adapter, "SMALL", 1000)
    merged = compress.merge(base, trained(base, tmp_path / "lora"), tmp_path / "merged")
    assert {tensor.dtype for tensor in load_file(merged / "model.safetensors").values()} == {torch.bfloat16}
    assert json.loads((merged / "config.json").read_text())["dtype"] == "bfloat16"


def test_llama_cpp_applies_an_adapter_as_peft_does(tiny_folder, tmp_path):
    lora = trained(tiny_folder, tmp_path / "lora", use_rslora=True)
    gguf = compress.quantize(tiny_folder, tmp_path / "base.gguf", "f32")
    file = compress.convert_adapter(tiny_folder, lora, tmp_path / "lora.gguf")
    model = LlamaCpp(gguf, threads=1, loras=[(file, 1.0)])
    scores = model.score([Prompt(text="", ids=IDS)], CHOICES)[0]
    model.close()
    with torch.inference_mode():
        tuned = PeftModel.from_pretrained(base_of(tiny_folder), lora).eval()
        logits = tuned(torch.tensor([IDS])).logits[0, -1, list(CHOICES.ids)].double()
    assert scores == pytest.approx(torch.log_softmax(logits, -1).numpy(), abs=1e-3)


def test_merged_and_applied_are_the_same_model(tiny_folder, tmp_path):
    lora = trained(tiny_folder, tmp_path / "lora")
    merged = compress.merge(tiny_folder, lora, tmp_path / "merged")
    one = LlamaCpp(compress.quantize(merged, tmp_path / "m.gguf", "f32"), threads=1)
    file = compress.convert_adapter(tiny_folder, lora, tmp_path / "lora.gguf")
    two = LlamaCpp(compress.quantize(tiny_folder, tmp_path / "b.gguf", "f32"), threads=1, loras=[(file, 1.0)])
    scores = [np.exp(model.score([Prompt(text="", ids=IDS)], CHOICES)) for model in (one, two)]
    one.close()
    two.close()
    assert scores[0] == pytest.approx(scores[1], abs=1e-4)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"use_dora": True}, "use_dora = True"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"rank_pattern": {"q_proj": 8}}, "rank_pattern"),
        ({"target_modules": ["embed_tokens"]}, "embed_tokens"),
        ({"init_lora_weights": "olora"}, "init_lora_weights"),
    ],
)
def test_more_than_plain_lora_is_refused(tiny_folder, tmp_path, options, said):
    lora = trained(tiny_folder, tmp_path / "lora", **options)
    with pytest.raises(ModelError, match=said):
        compress.merge(tiny_folder, lora, tmp_path / "merged")
    assert not (tmp_path / "merged").exists()


def test_an_adapter_of_another_base_is_refused(tiny_folder, tmp_path):
    lora = trained(tiny_folder, tmp_path / "lora")
    base = base_of(tiny_folder)
    base.config.intermediate_size = 96
    type(base)(base.config).save_pretrained(tmp_path / "other")
    with pytest.raises(ModelError, match="trained on"):
        compress.merge(tmp_path / "other", lora, tmp_path / "merged")


def test_an_unfinished_adapter_is_named(tiny_folder, tmp_path):
    (tmp_path / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    with pytest.raises(ModelError, match=r"holds no 'adapter_model\.safetensors'"):
        compress.merge(tiny_folder, tmp_path, tmp_path / "merged")
