"""Sentence encoders on onnxruntime: near torch's own vectors, and fused with n-grams under one head."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from smallworks.compress.encoder import encode_to_onnx
from smallworks.engines.linear import LinearHead
from smallworks.engines.ngrams import FAMILIES, learn
from smallworks.engines.onnx import FACTS, GRAPH, Encoder, Onnx
from smallworks.errors import ModelError
from smallworks.types import Choices, Prompt, Sampling

pytest.importorskip("onnxruntime")
pytestmark = pytest.mark.slow

WORDS = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    "the",
    "export",
    "button",
    "crash",
    "es",
    "add",
    "a",
    "dark",
    "mode",
    "how",
    "do",
    "i",
    "please",
]
TEXTS = ["the export button crashes", "please add a dark mode", "how", "", "how do i export " * 60]


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random two-layer BERT with a WordPiece tokenizer, as an embedding model's folder."""
    import torch
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertModel

    folder = tmp_path_factory.mktemp("bert")
    vocabulary = {word if word != "es" else "##es": i for i, word in enumerate(WORDS)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer.enable_padding(length=16)  # as all-MiniLM-L6-v2 has it: ours must not inherit it
    tokenizer.save(str(folder / "tokenizer.json"))
    torch.manual_seed(0)
    shape = {"hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 96}
    BertModel(BertConfig(vocab_size=len(WORDS), max_position_embeddings=128, **shape)).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def converted(bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return encode_to_onnx(bert, tmp_path_factory.mktemp("onnx") / "encoder")


@pytest.fixture(scope="module")
def encoder(converted: Path) -> Encoder:
    return Encoder(converted, threads=1)


def by_torch(folder: Path, text: str) -> np.ndarray:
    """The oracle: the mean over the tokens of transformers' own last hidden states, at length one."""
    import torch
    from tokenizers import Tokenizer
    from transformers import BertModel

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(128)
    ids = torch.tensor([tokenizer.encode(text).ids])
    with torch.no_grad():
        hidden = BertModel.from_pretrained(folder).eval()(ids).last_hidden_state[0]
    mean: np.ndarray = hidden.mean(0).numpy()
    return mean / np.linalg.norm(mean)


def test_vectors_are_nearly_those_of_torch(bert: Path, encoder: Encoder) -> None:
    vectors = encoder.embed(TEXTS)
    assert vectors.shape == (len(TEXTS), encoder.dimension) == (5, 48) and vectors.dtype == np.float32
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1.0, abs=1e-5)
    for text, vector in zip(TEXTS, vectors, strict=True):
        assert vector @ by_torch(bert, text) > 0.99, text


def test_a_vector_does_not_depend_on_its_batch(encoder: Encoder) -> None:
    together = encoder.embed(TEXTS * 10)
    alone = np.vstack([encoder.embed([text]) for text in TEXTS] * 10)
    assert (together * alone).sum(axis=1) == pytest.approx(1.0, abs=5e-3)


def test_no_texts_have_no_vectors(encoder: Encoder) -> None:
    assert encoder.embed([]).shape == (0, 48)


def test_converting_again_does_nothing(bert: Path, converted: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in converted.iterdir()}
    assert sorted(path.name for path in before) == ["encoder.json", "encoder.onnx", "tokenizer.json"]
    assert encode_to_onnx(bert, converted) == converted
    assert {path: path.stat().st_mtime_ns for path in converted.iterdir()} == before


def test_the_first_token_speaks_where_the_folder_says_so(
    bert: Path, converted: Path, encoder: Encoder, tmp_path: Path
) -> None:
    facts = json.loads((converted / FACTS).read_text())
    assert facts == {"pooling": "mean", "max_tokens": 128, "dimension": 48}
    for path in converted.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / FACTS).write_text(json.dumps({**facts, "pooling": "cls"}))
    assert abs(Encoder(tmp_path, threads=1).embed(TEXTS) - encoder.embed(TEXTS)).max() > 0.01


def test_what_is_no_encoder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"config\.json"):
        encode_to_onnx(tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_broken_graph_is_refused_with_its_path(converted: Path, tmp_path: Path) -> None:
    for path in converted.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / GRAPH).write_bytes(b"\x00" * 100)
    with pytest.raises(ModelError, match="onnxruntime cannot load") as caught:
        Encoder(tmp_path, threads=1)
    assert str(tmp_path / GRAPH) in caught.value.what


def fused(encoder: Encoder) -> tuple[Onnx, LinearHead]:
    random: Any = np.random.default_rng(0)
    blocks = tuple(learn(TEXTS, family) for family in FAMILIES)
    coefficients = tuple(random.normal(size=(len(b.idf), 2)).astype(np.float32) for b in blocks)
    head = LinearHead(("a", "b"), blocks, coefficients, np.zeros(2), random.normal(size=(48, 2)) * 5)
    return Onnx(head, encoder), head


def test_a_fused_model_adds_the_vector_to_the_ngrams(encoder: Encoder) -> None:
    model, head = fused(encoder)
    scores = model.score([Prompt(text=text) for text in TEXTS], Choices(labels=("a", "b")))
    for text, vector, score in zip(TEXTS, encoder.embed(TEXTS), scores, strict=True):
        margins = head.margins(text, vector)
        assert score[1] - score[0] == pytest.approx(margins[1] - margins[0], abs=1e-2)
    assert model.score([], Choices(labels=("a", "b"))).shape == (0, 2)


def test_a_fused_model_counts_the_tokens_that_it_reads(encoder: Encoder) -> None:
    model, _ = fused(encoder)
    done = model.generate(Prompt(text="the crashes"), Sampling())
    assert done.text in ("a", "b") and done.tokens_in == model.count("the crashes") == 5
    (chunk,) = model.stream(Prompt(text="the crashes"), Sampling())
    assert chunk.completion == done
