"""A cross-encoder in ONNX scores pairs as transformers does, each alone; what is none is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from smallworks import files
from smallworks.compress import reranker
from smallworks.engines.reranker import CrossEncoder
from smallworks.errors import ModelError
from smallworks.seams import silent

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "ferry", "leaves", "at", "ten", "who", "pays"]
PASSAGES = ["the ferry leaves at ten", "who pays", "", "the ferry " * 200]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random two-layer BERT with one score for a pair of texts."""
    torch = pytest.importorskip("torch")
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertForSequenceClassification

    home = tmp_path_factory.mktemp("cross")
    tokenizer = Tokenizer(models.WordPiece({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer.save(str(home / "tokenizer.json"))
    torch.manual_seed(0)
    shape = {"hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 96}
    config = BertConfig(vocab_size=len(WORDS), max_position_embeddings=64, num_labels=1, **shape)
    config.initializer_range = 0.2  # scores that differ
    BertForSequenceClassification(config).save_pretrained(home)
    return home


def by_torch(folder: Path, question: str, passage: str) -> float:
    """The oracle: transformers' own logit of the pair."""
    import torch
    from tokenizers import Tokenizer
    from transformers import BertForSequenceClassification

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(64)
    pair = tokenizer.encode(question, passage)
    model = BertForSequenceClassification.from_pretrained(folder).eval()
    with torch.inference_mode():
        ids, kinds = torch.tensor([pair.ids]), torch.tensor([pair.type_ids])
        return float(model(input_ids=ids, token_type_ids=kinds).logits[0, 0])


@pytest.mark.slow
def test_its_scores_are_those_of_transformers(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxruntime")
    question = "who leaves at ten"
    wanted = [by_torch(folder, question, passage) for passage in PASSAGES]
    assert np.ptp(wanted) > 0.05
    for quantized, near in ((False, 1e-4), (True, 0.05)):
        out = tmp_path / str(quantized)
        out.mkdir()
        with monkeypatch.context() as patched:
            if not quantized:
                patched.setattr(reranker, "quantize", lambda source, out: files.link_or_copy(source, out))
            reranker.main({"folder": folder, "out": out}, silent)
        model = CrossEncoder(out, threads=1)
        found = model.scores(question, PASSAGES)
        assert found == pytest.approx(wanted, abs=near)
        assert model.scores(question, PASSAGES[1:2])[0] == found[1]  # its company changes nothing


@pytest.mark.parametrize(
    "config",
    [
        {"architectures": ["BertModel"]},
        {"architectures": ["BertForSequenceClassification"], "id2label": {"0": "no", "1": "yes"}},
        {},
    ],
)
def test_what_is_no_reranker_is_refused(tmp_path: Path, config: dict[str, Any]) -> None:
    files.write_json(tmp_path / "config.json", config)
    with pytest.raises(ModelError, match="is no reranker"):
        reranker.reranker_to_onnx(tmp_path, tmp_path / "out")
