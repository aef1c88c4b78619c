"""Tokenizers mapped to llama.cpp's names by their structure; unknown structures are refused."""

import json
import re

import pytest
from tokenizers import Tokenizer

from smallworks import compress
from smallworks.compress import vocabulary
from smallworks.engines.llamacpp import GgufTokenizer
from smallworks.errors import ModelError

BYTES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
NO_REGEX = BYTES | {"use_regex": False}
DIGITS = {"type": "Digits", "individual_digits": True}
QWEN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
LLAMA3 = QWEN.replace(r"|\p{N}|", r"|\p{N}{1,3}|")
TEXTS = (
    "Hello, world! It's 12345 o'clock; don't WE'LL they'd\n\n\n  indented\tand   spaced  ",
    "naïve café — “quotes” … 漢字仮名交じり文 한국어 🎉👩‍👩‍👧 ½ x² \u00a0 \u200b end",
    "def f(x):\n    return x**2  # comment\r\n\r\n\t<tag attr='1'/> $100.50 3.14159 2026-11-20",
    "   \n \n",
    "a",
)


def sequence(*steps):
    return {"type": "Sequence", "pretokenizers": list(steps)}


def split(pattern, **changes):
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False} | changes


@pytest.fixture
def folder_with(tiny_folder, tmp_path):
    """The tiny model under a tokenizer whose rules are changed."""

    def make(rule, normalizer=None, **model):
        data = json.loads((tiny_folder / "tokenizer.json").read_text())
        data |= {"pre_tokenizer": rule, "normalizer": normalizer}
        data["model"] |= model
        for path in tiny_folder.iterdir():
            (tmp_path / path.name).write_bytes(path.read_bytes())
        (tmp_path / "tokenizer.json").write_text(json.dumps(data))
        return tmp_path

    return make


KNOWN = {
    "gpt-2": (BYTES, None, False),
    "smollm": (sequence(DIGITS, BYTES), None, False),
    "qwen2": (sequence(split(QWEN), NO_REGEX), {"type": "NFC"}, False),
    "llama-bpe": (sequence(split(LLAMA3), NO_REGEX), None, True),
}


@pytest.mark.parametrize("name", KNOWN)
def test_a_known_structure_gets_its_name_and_the_same_ids(folder_with, name):
    rule, normalizer, whole_words = KNOWN[name]
    folder = folder_with(rule, normalizer, ignore_merges=whole_words)
    assert vocabulary.read(folder).pre == name
    words = GgufTokenizer(compress.quantize(folder, folder / "m.gguf", "f32"))
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    for text in (*TEXTS, "<|im_start|>user\nHi<|im_end|>\n"):
        assert words.encode(text) == tokenizer.encode(text, add_special_tokens=False).ids, text


@pytest.mark.parametrize(
    ("rule", "normalizer", "whole_words"),
    [
        (BYTES | {"add_prefix_space": True}, None, False),
        (sequence(BYTES, DIGITS), None, False),
        (sequence(DIGITS | {"individual_digits": False}, BYTES), None, False),
        (sequence(split(r"\w+"), NO_REGEX), None, False),
        (sequence(split(QWEN, behavior="Removed"), NO_REGEX), None, False),
        (sequence(split(QWEN, invert=True), NO_REGEX), None, False),
        (sequence(split(LLAMA3), NO_REGEX), None, False),
        (BYTES, {"type": "Lowercase"}, False),
        (BYTES, {"type": "NFC"}, False),
        (BYTES, None, True),
        ({"type": "Whitespace"}, None, False),
        (None, None, False),
    ],
)
def test_an_unknown_structure_is_refused(folder_with, rule, normalizer, whole_words):
    with pytest.raises(ModelError, match=r"llama\.cpp is not known to share"):
        vocabulary.read(folder_with(rule, normalizer, ignore_merges=whole_words))


def test_rows_without_a_token_are_unused(tiny_folder):
    words = vocabulary.read(tiny_folder)
    size = len(words.tokens)
    assert words.padded(size + 2).tokens[-2:] == [f"[PAD{size}]", f"[PAD{size + 1}]"]
    with pytest.raises(ModelError, match=f"{size} tokens but the model's embedding only {size - 1} rows"):
        words.padded(size - 1)


def test_special_tokens_and_template_come_along(tiny_folder):
    words = vocabulary.read(tiny_folder)
    assert words.ids == {"bos": 0, "eos": 2, "pad": 3, "eot": 2}
    assert words.template == (tiny_folder / "chat_template.jinja").read_text()
    assert words.types[:4] == [vocabulary.CONTROL] * 4


def test_a_folder_without_a_tokenizer_is_named(tmp_path):
    with pytest.raises(ModelError, match="holds neither"):
        vocabulary.read(tmp_path)


@pytest.mark.parametrize(
    ("name", "pre"), [("tok-gpt2", "gpt-2"), ("tok-smollm2", "smollm"), ("tok-phi-3-mini", "default")]
)
def test_real_tokenizers_are_recognised(shared_files, name, pre):
    words = vocabulary.read(shared_files / "fixtures" / name)
    assert words.pre == pre
    assert words.model == ("llama" if pre == "default" else "gpt2")


def test_sentencepiece_in_json_keeps_its_ids(shared_files, tiny_folder, tmp_path):
    """Phi-3's tokenizer.json (Llama 2's with added tokens): merges become scores."""
    folder = with_vocabulary(tiny_folder, shared_files / "fixtures" / "tok-phi-3-mini", tmp_path)
    words = GgufTokenizer(compress.quantize(folder, tmp_path / "m.gguf", "q8_0"))
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    for text in TEXTS:
        assert words.encode(text) == tokenizer.encode(text, add_special_tokens=False).ids, text
    assert words.decode(words.encode(TEXTS[1])) == TEXTS[1]


@pytest.mark.parametrize(("oracle", "folder"), [("gpt-2", "tok-gpt2"), ("phi-3", "tok-phi-3-mini")])
def test_ids_are_those_of_llama_cpps_own_oracles(shared_files, tiny_folder, tmp_path, oracle, folder):
    files = shared_files / "fixtures"
    made = with_vocabulary(tiny_folder, files / folder, tmp_path)
    words = GgufTokenizer(compress.quantize(made, tmp_path / "m.gguf", "q8_0"))
    texts = (files / "token-oracles" / f"{oracle}.inp").read_text().split("\n__ggml_vocab_test__\n")
    lines = (files / "token-oracles" / f"{oracle}.out").read_text().splitlines()
    assert (texts.pop(), len(texts)) == ("", len(lines))
    for text, line in zip(texts, lines, strict=True):
        assert words.encode(text) == [int(id) for id in re.findall(r"\d+", line)], repr(text)


def sentencepiece_model(out, **options):
    import sentencepiece

    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXTS * 20),
        model_prefix=str(out / "tokenizer"),
        model_type="bpe",
        vocab_size=400,
        hard_vocab_limit=False,
        byte_fallback=True,
        minloglevel=5,
        **{"normalization_rule_name": "identity", "remove_extra_whitespaces": False} | options,
    )
    return sentencepiece.SentencePieceProcessor(str(out / "tokenizer.model"))


def test_sentencepiece_models_keep_their_ids(tiny_folder, tmp_path):
    pieces = sentencepiece_model(tmp_path)
    tiny_model(tiny_folder, pieces.GetPieceSize(), tmp_path)
    words = GgufTokenizer(compress.quantize(tmp_path, tmp_path / "m.gguf", "q8_0"))
    for text in (*TEXTS, "new ½ words ﬁ 𝔘 that it never saw"):
        assert words.encode(text) == pieces.encode(text), text
        assert words.decode(words.encode(text)) == text


def test_a_sentencepiece_model_that_changes_its_text_is_refused(tmp_path):
    sentencepiece_model(tmp_path, remove_extra_whitespaces=True)
    with pytest.raises(ModelError, match="has a normalizer"):
        vocabulary.read(tmp_path)


def with_vocabulary(tiny_folder, tokenizer, out):
    """A model with random rows for every token of another tokenizer."""
    for path in tokenizer.iterdir():
        if path.name.startswith("tokenizer"):
            (out / path.name).write_bytes(path.read_bytes())
    size = Tokenizer.from_file(str(out / "tokenizer.json")).get_vocab_size(with_added_tokens=True)
    return tiny_model(tiny_folder, size, out)


def tiny_model(tiny_folder, size, out):
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig.from_pretrained(tiny_folder)
    config.vocab_size, config.hidden_size, config.num_hidden_layers = size, 32, 1
    config.intermediate_size, config.head_dim = 32, 8
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(out)
    return out
