"""Names by a token-classification model: the spans of transformers' own pipeline on the same weights."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from smallworks.compress.names import names_to_onnx
from smallworks.engines.names import Names, grouped, parsed
from smallworks.errors import ModelError
from smallworks.text.personal import Name

WORDS = [
    "anna",
    "berg",
    "met",
    "ms",
    "smith",
    "in",
    "lima",
    "for",
    "acme",
    "ltd",
    "and",
    "wrote",
    "to",
    "bob",
    "about",
    "it",
]
PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, "##s", "##er", "'", ".", ","]
LABELS = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC", "B-ORG", "I-ORG", "B-MISC"]
DRAW = random.Random(0)
TEXTS = [
    "",
    "unknown words, Berger and Smiths, and Anna's",
    *(" ".join(DRAW.choices([*WORDS, "Bergs", "Smither's", "Lima.", "who"], k=9)) for _ in range(30)),
]


@pytest.fixture(scope="module")
def tagger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random one-layer BERT that labels tokens, loud enough to give many labels."""
    pytest.importorskip("onnxruntime")
    import torch
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertForTokenClassification, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("tagger")
    inner = Tokenizer(models.WordPiece({p: i for i, p in enumerate(PIECES)}, unk_token="[UNK]"))
    inner.normalizer = normalizers.BertNormalizer()
    inner.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    inner.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    PreTrainedTokenizerFast(tokenizer_object=inner, unk_token="[UNK]").save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(PIECES),
        max_position_embeddings=66,
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        initializer_range=2.0,
        id2label=dict(enumerate(LABELS)),
        label2id={label: at for at, label in enumerate(LABELS)},
    )
    BertForTokenClassification(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def names(tagger: Path, tmp_path_factory: pytest.TempPathFactory, here: object) -> Names:
    with here():  # type: ignore[operator]
        return Names(names_to_onnx(tagger, tmp_path_factory.mktemp("names") / "onnx"))


@pytest.mark.slow
def test_names_are_those_of_transformers_own_pipeline(tagger: Path, names: Names) -> None:
    from transformers import pipeline

    oracle = pipeline("token-classification", str(tagger), aggregation_strategy="first", device="cpu")
    kinds: set[str] = set()
    for text in TEXTS:
        told = [
            Name(parsed(f"I-{one['entity_group']}")[1], one["start"], one["end"])  # type: ignore[arg-type]
            for one in (oracle(text) if text else [])
            if one["entity_group"] != "MISC"
        ]
        assert list(names(text)) == told, text
        kinds |= {name.kind for name in told}
    assert kinds == {"PERSON", "LOC", "ORG"}, "the random model has to say something"


@pytest.mark.slow
def test_a_long_text_is_read_to_its_end(names: Names) -> None:
    words = names._words("anna met bob. " * 60)
    assert len(words) == 240 and words[-1][1] == len("anna met bob. " * 60) - 1
    assert [start for start, _, _ in words] == sorted({start for start, _, _ in words})


@pytest.mark.slow
def test_a_model_without_names_is_refused(tagger: Path, tmp_path: Path) -> None:
    config = json.loads((tagger / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "id2label": {"0": "POS", "1": "NEG"}}))
    with pytest.raises(ModelError, match="tells no names; its labels are: POS, NEG"):
        names_to_onnx(tmp_path, tmp_path / "out")


@pytest.mark.parametrize(
    ("labels", "told"),
    [
        ("B-PER I-PER O", [Name("PERSON", 0, 2)]),
        ("B-PER B-PER I-PER", [Name("PERSON", 0, 1), Name("PERSON", 1, 3)]),
        ("I-PER I-LOC I-LOC", [Name("PERSON", 0, 1), Name("LOC", 1, 3)]),
        ("B-GIVENNAME I-SURNAME B-DATE", [Name("PERSON", 0, 2)]),
        ("S-ORG B-ORG E-ORG", [Name("ORG", 0, 1), Name("ORG", 1, 3)]),
        ("person O gpe", [Name("PERSON", 0, 1), Name("LOC", 2, 3)]),
        ("O O", []),
    ],
)
def test_words_become_names_by_their_labels(labels: str, told: list[Name]) -> None:
    assert list(grouped((at, at + 1, label) for at, label in enumerate(labels.split()))) == told
