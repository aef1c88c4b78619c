"""Tokenizers load from a model's folder and give the ids that the model was trained on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from smallworks.errors import ModelError, RequestError
from smallworks.prompt import TextTokenizer
from smallworks.seams import Tokenizer

ORACLES = {
    "gpt-2": "tok-gpt2",
    "qwen2": "tok-qwen2.5",
    "phi-3": "tok-phi-3-mini",
    "llama-spm": "tok-phi-3-mini",
}
"""Phi-3 took over the vocabulary of Llama 2."""


@pytest.mark.parametrize("oracle", ORACLES)
def test_hard_strings_give_the_expected_ids(shared: Path, oracle: str) -> None:
    ours = TextTokenizer.load(shared / ORACLES[oracle])
    texts = (shared / "token-oracles" / f"{oracle}.inp").read_text().removesuffix("\n__ggml_vocab_test__\n")
    expected = (shared / "token-oracles" / f"{oracle}.out").read_text().split("\n")
    for text, line in zip(texts.split("\n__ggml_vocab_test__\n"), expected, strict=False):
        assert ours.encode(text) == [int(id) for id in line.split()], text


@pytest.mark.parametrize("model", ["tok-smollm2", "tok-qwen2.5", "tok-phi-3-mini"])
def test_a_rendered_prompt_gives_the_ids_of_transformers(shared: Path, model: str) -> None:
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    # AutoTokenizer of transformers 5 rebuilds Phi-3's normaliser from its class and no longer follows the
    # model's tokenizer.json ("<|user|> Hi" loses its leading space); the file is what models were trained on.
    path = shared / model / "tokenizer.json"
    theirs = (
        PreTrainedTokenizerFast(tokenizer_file=str(path))
        if path.exists()
        else AutoTokenizer.from_pretrained(shared / model)
    )
    ours = TextTokenizer.load(shared / model)
    for text in (
        "<|im_start|>user\nHi 12 🦙<|im_end|>\n",
        "<|user|>\n Grüße<|end|>\n<|assistant|>\n",
        "  a\tb ",
    ):
        assert ours.encode(text) == theirs.encode(text, add_special_tokens=False)


def test_special_tokens_in_the_text_are_parsed_and_none_added(tokenizer: TextTokenizer) -> None:
    ids = tokenizer.encode("<|im_start|>user<|im_end|>")
    assert ids[0] == 1 and ids[-1] == 2 and tokenizer.encode("") == []
    assert tokenizer.decode(ids) == "user"


def test_the_model_names_its_end_and_padding(tokenizer: TextTokenizer) -> None:
    protocol: Tokenizer = tokenizer
    assert tokenizer.eos_ids == (2, 0) and tokenizer.pad_id == 3
    assert tokenizer.token_id("<|im_end|>") == 2 and tokenizer.token_id("<|none|>") is None
    assert tokenizer.is_special(2) and not tokenizer.is_special(40)
    assert protocol.size == len(tokenizer.inner.get_vocab())


def test_tokens_that_only_the_config_lists_are_added(chatml: Path, tmp_path: Path) -> None:
    size = TextTokenizer.load(chatml).size
    (tmp_path / "tokenizer.json").write_bytes((chatml / "tokenizer.json").read_bytes())
    added = {str(size): {"content": "<tool>", "special": False}}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"added_tokens_decoder": added}))
    assert TextTokenizer.load(tmp_path).encode("<tool>") == [size]


def test_an_id_that_cannot_be_given_is_a_model_error(chatml: Path, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_bytes((chatml / "tokenizer.json").read_bytes())
    added = {"99999": {"content": "<tool>", "special": False}}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"added_tokens_decoder": added}))
    with pytest.raises(ModelError, match="99999"):
        TextTokenizer.load(tmp_path)


def test_merges_of_an_unsettled_class_are_refused(tmp_path: Path) -> None:
    (tmp_path / "vocab.json").write_text("{}")
    (tmp_path / "merges.txt").write_text("")
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "GPT2Tokenizer"}')
    with pytest.raises(ModelError, match=r"GPT2Tokenizer.*tokenizer\.json"):
        TextTokenizer.load(tmp_path)


def test_a_missing_or_broken_tokenizer_is_a_model_error(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="No tokenizer"):
        TextTokenizer.load(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(ModelError, match="not a tokenizer"):
        TextTokenizer.load(tmp_path)


def test_half_a_character_is_the_requests_fault(tokenizer: TextTokenizer) -> None:
    with pytest.raises(RequestError, match="position 2"):
        tokenizer.encode("ab\ud83dc")
