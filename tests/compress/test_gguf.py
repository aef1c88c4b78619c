"""Folders to GGUF: the file runs in llama.cpp and says what transformers says."""

import json

import numpy as np
import pytest
import torch
from gguf import GGUFReader
from transformers import (
    AutoModelForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from smallworks import compress
from smallworks.engines.llamacpp import LlamaCpp
from smallworks.errors import ModelError, UserError
from smallworks.types import Choices, Prompt

SIZES = {
    "vocab_size": 320,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 1e4,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
MODELS = {
    "llama": (LlamaForCausalLM, LlamaConfig(**SIZES)),
    "llama-tied": (LlamaForCausalLM, LlamaConfig(**SIZES, tie_word_embeddings=True)),
    "llama-wide-heads": (LlamaForCausalLM, LlamaConfig(**SIZES, head_dim=32)),
    "llama-biased": (LlamaForCausalLM, LlamaConfig(**SIZES, attention_bias=True, mlp_bias=True)),
    "llama-3-rope": (LlamaForCausalLM, LlamaConfig(**SIZES, rope_parameters=LLAMA3)),
    "qwen2": (Qwen2ForCausalLM, Qwen2Config(**SIZES, tie_word_embeddings=True)),
    "qwen3": (Qwen3ForCausalLM, Qwen3Config(**SIZES, head_dim=32)),
}
CHOICES = Choices(labels=tuple(map(str, range(100))), ids=tuple(range(20, 120)))
IDS = tuple(int(id) for id in np.random.default_rng(0).integers(4, 320, 90))


def saved(model, tiny_folder, out, dtype=torch.float32, **options):
    """A random model with the tiny tokenizer; biases and norms made to matter."""
    for name, weight in model.named_parameters():
        if weight.ndim == 1:
            torch.nn.init.normal_(weight, mean=0.0 if "bias" in name else 1.0, std=0.2)
        else:
            torch.nn.init.normal_(weight, std=0.1)
    model.to(dtype).save_pretrained(out, **options)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        (out / name).write_bytes((tiny_folder / name).read_bytes())
    return out


def both(folder, path):
    """Log-probabilities over CHOICES after IDS, by transformers in float32 and by llama.cpp."""
    hf = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.inference_mode():
        logits = hf(torch.tensor([IDS])).logits[0, -1, list(CHOICES.ids)].double()
    model = LlamaCpp(path, threads=1)
    scores = model.score([Prompt(text="", ids=IDS)], CHOICES)[0]
    model.close()
    return torch.log_softmax(logits, -1).numpy(), scores


@pytest.mark.parametrize("name", MODELS)
def test_every_architecture_scores_as_in_transformers(tiny_folder, tmp_path, name):
    kind, config = MODELS[name]
    torch.manual_seed(3)
    folder = saved(kind(config), tiny_folder, tmp_path)
    expected, scores = both(folder, compress.quantize(folder, tmp_path / "m.gguf", "f32"))
    assert expected.std() > 0.5
    assert scores == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize(
    ("kind", "tolerance"), [("f32", 1e-3), ("f16", 0.02), ("bf16", 0.2), ("q8_0", 0.3), ("q4_0", 3.0)]
)
def test_every_kind_keeps_close(tiny_folder, tmp_path, kind, tolerance):
    torch.manual_seed(3)
    folder = saved(LlamaForCausalLM(LlamaConfig(**SIZES)), tiny_folder, tmp_path)
    expected, scores = both(folder, compress.quantize(folder, tmp_path / "m.gguf", kind))
    assert np.abs(scores - expected).max() < tolerance
    assert np.corrcoef(scores, expected)[0, 1] > 0.95


def test_bfloat16_shards_convert_without_loss(tiny_folder, tmp_path):
    torch.manual_seed(3)
    model = LlamaForCausalLM(LlamaConfig(**SIZES))
    folder = saved(model, tiny_folder, tmp_path, torch.bfloat16, max_shard_size="100KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 2
    compress.quantize(folder, tmp_path / "m.gguf", "bf16")
    expected, scores = both(folder, compress.quantize(folder, tmp_path / "f32.gguf", "f32"))
    assert scores == pytest.approx(expected, abs=1e-3)
    kept = next(t for t in GGUFReader(tmp_path / "m.gguf").tensors if t.name == "blk.1.ffn_down.weight")
    original = model.model.layers[1].mlp.down_proj.weight.view(torch.uint16).numpy()
    assert (np.array(kept.data).view(np.uint16).reshape(original.shape) == original).all()


def test_a_q4_0_file_keeps_embedding_and_output_at_q8_0(tiny_folder, tmp_path):
    folder = saved(LlamaForCausalLM(LlamaConfig(**SIZES)), tiny_folder, tmp_path)
    reader = GGUFReader(compress.quantize(folder, tmp_path / "m.gguf", "q4_0"))
    types = {tensor.name: tensor.tensor_type.name for tensor in reader.tensors}
    assert (types["token_embd.weight"], types["output.weight"]) == ("Q8_0", "Q8_0")
    assert (types["blk.0.attn_q.weight"], types["blk.0.attn_norm.weight"]) == ("Q4_0", "F32")


def test_rows_that_do_not_fit_blocks_stay_f16(tiny_folder, tmp_path):
    config = LlamaConfig(**SIZES | {"intermediate_size": 72})
    folder = saved(LlamaForCausalLM(config), tiny_folder, tmp_path)
    expected, scores = both(folder, compress.quantize(folder, tmp_path / "m.gguf", "q8_0"))
    assert np.corrcoef(scores, expected)[0, 1] > 0.99


def test_the_same_folder_gives_the_same_bytes(tiny_folder, tmp_path):
    one, two = (compress.quantize(tiny_folder, tmp_path / name, "q8_0").read_bytes() for name in "ab")
    assert one == two


def test_progress_reaches_the_end(tiny_folder, tmp_path):
    seen = []
    compress.quantize(tiny_folder, tmp_path / "m.gguf", "f16", progress=lambda *step: seen.append(step))
    assert seen[-1][1] == seen[-1][2] == len(seen) - 1


def test_a_failed_conversion_leaves_nothing_behind(tiny_folder, tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    for path in tiny_folder.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ModelError):
        compress.quantize(folder, tmp_path / "out" / "m.gguf", "f32")
    assert not list(tmp_path.glob("out/*"))


def test_a_full_disk_is_told_and_leaves_nothing(tiny_folder, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("gguf.GGUFWriter.write_tensor_data", full)
    with pytest.raises(UserError, match="No space left"):
        compress.quantize(tiny_folder, tmp_path / "m.gguf", "f32")
    assert not list(tmp_path.iterdir())


def test_a_tensor_without_a_place_is_named(tiny_folder, tmp_path):
    from safetensors.torch import load_file, save_file

    folder = saved(LlamaForCausalLM(LlamaConfig(**SIZES)), tiny_folder, tmp_path)
    tensors = load_file(folder / "model.safetensors")
    save_file(tensors | {"model.layers.0.extra.weight": torch.ones(3)}, folder / "model.safetensors")
    with pytest.raises(ModelError, match=r"model\.layers\.0\.extra\.weight"):
        compress.quantize(folder, tmp_path / "m.gguf", "f32")


def test_another_kind_of_model_is_refused(tiny_folder, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "mamba"}))
    with pytest.raises(ModelError, match="'mamba' model"):
        compress.quantize(tmp_path, tmp_path / "m.gguf", "f32")
