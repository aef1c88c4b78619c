"""A really trained model (llama2.c's stories260K, SentencePiece) tells its story in both engines."""

import json
import struct

import numpy as np
import pytest
import sentencepiece
import torch
from transformers import AutoModelForCausalLM

from smallworks import compress
from smallworks.compress.weights import write
from smallworks.engines.llamacpp import GgufTokenizer, LlamaCpp
from smallworks.types import Prompt, Sampling

OPENING = "Once upon a time"


@pytest.fixture(scope="module")
def stories(shared_files, tmp_path_factory):
    """The llama2.c file as a Hugging Face folder."""
    source = shared_files / "fixtures" / "stories260K"
    folder = tmp_path_factory.mktemp("stories")
    pieces = sentencepiece.SentencePieceProcessor(str(source / "tok512.model"))
    (folder / "tokenizer.json").write_text(json.dumps(as_json(pieces)))
    raw = (source / "stories260K.bin").read_bytes()
    dim, hidden, layers, heads, kv_heads, vocabulary, length = struct.unpack("<7i", raw[:28])
    size = dim // heads
    shapes = {
        "embed": (vocabulary, dim),
        "input_layernorm": (layers, dim),
        "self_attn.q_proj": (layers, dim, dim),
        "self_attn.k_proj": (layers, kv_heads * size, dim),
        "self_attn.v_proj": (layers, kv_heads * size, dim),
        "self_attn.o_proj": (layers, dim, dim),
        "post_attention_layernorm": (layers, dim),
        "mlp.gate_proj": (layers, hidden, dim),
        "mlp.down_proj": (layers, dim, hidden),
        "mlp.up_proj": (layers, hidden, dim),
        "norm": (dim,),
    }
    tensors, at = {}, 28
    for name, shape in shapes.items():
        count = int(np.prod(shape))
        tensor = np.frombuffer(raw, "<f4", count, at).reshape(shape)
        at += 4 * count
        if name in ("embed", "norm"):
            tensors[{"embed": "model.embed_tokens.weight", "norm": "model.norm.weight"}[name]] = tensor
            continue
        for layer in range(layers):
            tensors[f"model.layers.{layer}.{name}.weight"] = halved(tensor[layer], name, heads, kv_heads)
    write(
        folder / "model.safetensors",
        {name: ("F32", tensor.shape) for name, tensor in tensors.items()},
        tensors.values(),
    )
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": dim,
        "intermediate_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "vocab_size": vocabulary,
        "max_position_embeddings": length,
        "rms_norm_eps": 1e-5,
        "tie_word_embeddings": True,
        "bos_token_id": 1,
        "eos_token_id": 2,
    }
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def halved(tensor, name, heads, kv_heads):
    """Rows of q and k from rotated pairs, as llama2.c keeps them, to the halves of Hugging Face."""
    count = {"self_attn.q_proj": heads, "self_attn.k_proj": kv_heads}.get(name)
    if count is None:
        return tensor
    pairs = tensor.reshape(count, tensor.shape[0] // count // 2, 2, -1)
    return np.ascontiguousarray(pairs.swapaxes(1, 2).reshape(tensor.shape))


def as_json(pieces):
    """The SentencePiece model as tokenizers' BPE with byte fallback: every way to a piece is a merge."""
    vocab = {pieces.IdToPiece(id): id for id in range(pieces.GetPieceSize())}
    ways = [
        (id, piece[:cut], piece[cut:])
        for piece, id in vocab.items()
        for cut in range(1, len(piece))
        if piece[:cut] in vocab and piece[cut:] in vocab and not pieces.IsByte(id)
    ]
    spaces = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
    normalizer = {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"}, spaces]}
    special = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    merges = [[left, right] for _, left, right in sorted(ways, key=lambda way: -pieces.GetScore(way[0]))]
    return {
        "added_tokens": [{"id": id, "content": pieces.IdToPiece(id), **special} for id in range(3)],
        "normalizer": normalizer,
        "pre_tokenizer": None,
        "model": {
            "type": "BPE",
            "vocab": vocab,
            "merges": merges,
            "byte_fallback": True,
            "unk_token": "<unk>",
            "fuse_unk": True,
        },
    }


@pytest.fixture(scope="module")
def words(shared_files):
    path = shared_files / "fixtures" / "stories260K" / "tok512.model"
    return sentencepiece.SentencePieceProcessor(str(path))


def test_both_engines_tell_the_same_story(stories, words, tmp_path):
    ids = (1, *words.encode(OPENING))
    hf = AutoModelForCausalLM.from_pretrained(stories, dtype=torch.float32).eval()
    with torch.inference_mode():
        told = hf.generate(torch.tensor([ids]), max_new_tokens=60, do_sample=False)[0, len(ids) :].tolist()
    model = LlamaCpp(compress.quantize(stories, tmp_path / "m.gguf", "f32"), threads=1)
    completion = model.generate(Prompt(text="", ids=ids), Sampling(max_tokens=60))
    model.close()
    assert completion.text.startswith(", there was a little girl named Lily.")
    assert completion.ids == tuple(told)
    assert completion.text == words.decode(told)


def test_sentencepiece_keeps_its_ids(stories, words, tmp_path):
    gguf = GgufTokenizer(compress.quantize(stories, tmp_path / "m.gguf", "q8_0"))
    for text in (OPENING, "Lily's café, 漢字 🎉!", "one line\nand another", "x"):
        assert gguf.encode(text) == words.encode(text)
        assert gguf.decode(gguf.encode(text)) == text
