"""A model's tokenizer: rendered text to ids and back, on the `tokenizers` library alone.

Knows nothing of templates or tasks. Special tokens that stand in the text are parsed and none are
added: a chat template writes its own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, normalizers, pre_tokenizers
from tokenizers.models import BPE

from smallworks.errors import ModelError, RequestError
from smallworks.files import read_json
from smallworks.prompt.template import special_tokens

# The splitting rule of every Qwen2 and Qwen2.5 model (transformers, models/qwen2/tokenization_qwen2.py).
_QWEN2 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_BYTE = re.compile(r"<0x[0-9A-F]{2}>")


class TextTokenizer:
    """Implements `seams.Tokenizer`; safe to share between threads.

    `eos_ids` end an answer by the model's own configuration, in order of mention; `pad_id` is None
    where the model names no padding token.
    """

    def __init__(self, inner: Tokenizer, *, eos_ids: Sequence[int] = (), pad_id: int | None = None) -> None:
        inner.no_truncation()
        inner.no_padding()
        self.inner = inner
        self.size: int = inner.get_vocab_size(with_added_tokens=True)
        self.eos_ids = tuple(eos_ids)
        self.pad_id = pad_id
        self.added: Mapping[int, AddedToken] = inner.get_added_tokens_decoder()
        self._special = frozenset(id for id, token in self.added.items() if token.special)
        decoder = json.loads(inner.to_str())["decoder"]
        self._byte_ids = _byte_ids(inner) if "ByteFallback" in json.dumps(decoder) else frozenset()

    @classmethod
    def load(cls, folder: Path) -> TextTokenizer:
        """The tokenizer of a model's folder. Raises ModelError where none can be read."""
        inner = _read(folder)
        _add_missing(inner, folder)
        generation, model = _json(folder / "generation_config.json"), _json(folder / "config.json")
        special = special_tokens(folder)
        named = inner.token_to_id(special["eos_token"]) if "eos_token" in special else None
        eos = (*_ids(generation.get("eos_token_id")), *_ids(model.get("eos_token_id")), *_ids(named))
        pad = inner.token_to_id(special["pad_token"]) if "pad_token" in special else None
        if pad is None:
            pad = next(iter((*_ids(generation.get("pad_token_id")), *_ids(model.get("pad_token_id")))), None)
        return cls(inner, eos_ids=tuple(dict.fromkeys(eos)), pad_id=pad)

    def encode(self, text: str) -> list[int]:
        try:
            ids: list[int] = self.inner.encode(text, add_special_tokens=False).ids
        except TypeError as error:
            raise _half_character(text) from error
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        text: str = self.inner.decode(list(ids), skip_special_tokens=True)
        return text

    def token_id(self, text: str) -> int | None:
        """The id of a token by its exact text, e.g. '<|im_end|>'; None where there is none."""
        found: int | None = self.inner.token_to_id(text)
        return found

    def is_special(self, id: int) -> bool:
        return id in self._special

    def is_byte(self, id: int) -> bool:
        """Whether the id is one raw byte ('<0xE2>') of a character outside the vocabulary."""
        return id in self._byte_ids


load = TextTokenizer.load


def _half_character(text: str) -> RequestError:
    """Python and JSON can hold half of a UTF-16 pair, which is no text; tokenizers take none."""
    at = next((place for place, character in enumerate(text) if "\ud800" <= character <= "\udfff"), 0)
    return RequestError(
        f"The text holds half a character ({text[at : at + 1]!a}) at position {at} of the prompt.",
        fix="Send whole Unicode characters (escape them in pairs, as in \\ud83d\\ude00).",
    )


def _byte_ids(inner: Tokenizer) -> frozenset[int]:
    return frozenset(id for text, id in inner.get_vocab().items() if _BYTE.fullmatch(text))


def _read(folder: Path) -> Tokenizer:
    path = folder / "tokenizer.json"
    if path.exists():
        try:
            return Tokenizer.from_file(str(path))
        except Exception as error:  # the library raises bare Exception for every broken file
            raise ModelError(
                f"'{path}' is not a tokenizer: {error}.", fix="Fetch the model's tokenizer.json again."
            ) from error
    if (folder / "vocab.json").exists() and (folder / "merges.txt").exists():
        return _from_merges(folder)
    raise ModelError(
        f"No tokenizer in '{folder}': it holds no tokenizer.json.",
        fix="Put the model's tokenizer.json into that folder.",
    )


def _from_merges(folder: Path) -> Tokenizer:
    """A tokenizer from vocab.json and merges.txt, for the one class whose name settles the splitting rule."""
    name = _json(folder / "tokenizer_config.json").get("tokenizer_class")
    if name not in ("Qwen2Tokenizer", "Qwen2TokenizerFast"):
        raise ModelError(
            f"'{folder}' holds vocab.json and merges.txt but no tokenizer.json, and its class '{name}' does "
            "not settle how text is split.",
            fix="Put the model's tokenizer.json into that folder.",
        )
    inner = Tokenizer(BPE.from_file(str(folder / "vocab.json"), str(folder / "merges.txt")))
    inner.normalizer = normalizers.NFC()
    inner.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_QWEN2), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    inner.decoder = decoders.ByteLevel()
    return inner


def _add_missing(inner: Tokenizer, folder: Path) -> None:
    """Added tokens that only tokenizer_config.json lists; refused where they would get another id."""
    listed = _json(folder / "tokenizer_config.json").get("added_tokens_decoder", {})
    for id, fields in sorted(listed.items(), key=lambda item: int(item[0])):
        if inner.token_to_id(fields["content"]) == int(id) and int(id) in inner.get_added_tokens_decoder():
            continue
        inner.add_tokens([AddedToken(**fields)])
        if inner.token_to_id(fields["content"]) != int(id):
            raise ModelError(
                f"tokenizer_config.json in '{folder}' gives '{fields['content']}' the id {id}, but the "
                f"tokenizer gives it {inner.token_to_id(fields['content'])}.",
                fix="Fetch the model's tokenizer.json and tokenizer_config.json again, both of one version.",
            )


def _ids(value: Any) -> Iterable[int]:
    if value is None:
        return ()
    return tuple(value) if isinstance(value, list) else (int(value),)


def _json(path: Path) -> dict[str, Any]:
    value = read_json(path) if path.exists() else {}
    return value if isinstance(value, dict) else {}
