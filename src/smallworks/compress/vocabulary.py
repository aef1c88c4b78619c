"""A model's tokenizer in the terms of GGUF: tokens, types, merges or scores, and the splitting rule's name.

llama.cpp knows splitting rules by name only, so a tokenizer.json is recognised by its structure and
refused when that is not one of the known ones: a guess would tokenise almost right. Knows no weights.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from smallworks.errors import ModelError
from smallworks.files import read_json

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6
"""llama.cpp's token types."""

# The splitting rules of Qwen2 (transformers, models/qwen2/tokenization_qwen2.py) and Llama 3 (the same
# with numbers in threes), as their tokenizer.json files hold them.
_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|%s| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_SPLITS = {_SPLIT % r"\p{N}": "qwen2", _SPLIT % r"\p{N}{1,3}": "llama-bpe"}
_END_OF_TURN = ("<|im_end|>", "<|eot_id|>", "<|end|>", "<end_of_turn>")
_PROBE = "two  spaces, ½ ﬁ "
"""Text that a normalising SentencePiece model changes; llama.cpp changes nothing."""
_TEMPLATE = "chat_template.jinja"


@dataclass(frozen=True, kw_only=True)
class Vocabulary:
    """`model` 'gpt2' is byte-level BPE with `merges`, 'llama' is SentencePiece with `scores`.

    `ids` maps 'bos', 'eos', 'pad', 'unk' and 'eot' to token ids where the model names them.
    """

    model: str
    pre: str
    tokens: Sequence[str]
    types: Sequence[int]
    merges: Sequence[str] = ()
    scores: Sequence[float] = ()
    prefix_space: bool = False
    ids: Mapping[str, int] = field(default_factory=dict)
    template: str | None = None

    def padded(self, size: int) -> Vocabulary:
        """With unused tokens up to the rows of the embedding. Raises ModelError when there are fewer rows."""
        spare = size - len(self.tokens)
        if spare < 0:
            raise ModelError(
                f"The tokenizer has {len(self.tokens)} tokens but the model's embedding only {size} rows.",
                fix="Use the tokenizer that the model was trained with.",
            )
        return replace(
            self,
            tokens=[*self.tokens, *(f"[PAD{len(self.tokens) + n}]" for n in range(spare))],
            types=[*self.types, *[UNUSED] * spare],
            scores=[*self.scores, *[-1e9] * spare] if self.scores else (),
        )


def read(folder: Path) -> Vocabulary:
    """The tokenizer of a model's folder. Raises ModelError for one that llama.cpp would read differently."""
    if (folder / "tokenizer.json").is_file():
        words = _from_json(folder / "tokenizer.json")
    elif (folder / "tokenizer.model").is_file():
        words = _from_sentencepiece(folder / "tokenizer.model")
    else:
        raise ModelError(
            f"No tokenizer in '{folder}': it holds neither tokenizer.json nor tokenizer.model.",
            fix="Put the model's tokenizer.json into that folder.",
        )
    return replace(words, ids=_named_ids(folder, words), template=_template(folder))


def _from_json(path: Path) -> Vocabulary:
    data = read_json(path)
    model = data["model"]
    if (
        model.get("type") != "BPE"
        or model.get("continuing_subword_prefix")
        or model.get("end_of_word_suffix")
    ):
        raise _unknown(path, "model", {"type": model.get("type")})
    tokens, types = _listed(path, model["vocab"], data.get("added_tokens", ()))
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]]
    if model.get("byte_fallback"):
        return Vocabulary(
            model="llama",
            pre="default",
            tokens=tokens,
            types=[_sentencepiece_type(token, kind) for token, kind in zip(tokens, types, strict=True)],
            scores=_scores(tokens, model["vocab"], merges),
            prefix_space=_prefix_space(path, data),
        )
    return Vocabulary(model="gpt2", pre=_pre(path, data), tokens=tokens, types=types, merges=merges)


def _listed(
    path: Path, vocab: Mapping[str, int], added: Iterable[Mapping[str, Any]]
) -> tuple[list[str], list[int]]:
    """Tokens and types in the order of their ids; holes are unused tokens."""
    extra = {token["id"]: token for token in added}
    size = max([*vocab.values(), *extra], default=-1) + 1
    tokens, types = [f"[PAD{id}]" for id in range(size)], [UNUSED] * size
    for text, id in vocab.items():
        tokens[id], types[id] = text, NORMAL
    for id, token in extra.items():
        if token.get("single_word") or (token.get("normalized") and token["special"]):
            raise _unknown(path, f"added token '{token['content']}'", token)
        tokens[id], types[id] = token["content"], CONTROL if token["special"] else USER_DEFINED
    return tokens, types


def _pre(path: Path, data: Mapping[str, Any]) -> str:
    """llama.cpp's name of the splitting rule of a byte-level BPE."""
    rule, normalizer = data.get("pre_tokenizer") or {}, data.get("normalizer")
    steps = rule.get("pretokenizers", []) if rule.get("type") == "Sequence" else [rule]
    last = steps[-1] if steps else {}
    if last.get("type") != "ByteLevel" or last.get("add_prefix_space"):
        raise _unknown(path, "pre_tokenizer", rule)
    name = _known_split(steps[:-1], own_split=last.get("use_regex", True))
    # llama.cpp does not compose characters (NFC) as Qwen's normalizer does; ids are made elsewhere anyway.
    allowed = (None, {"type": "NFC"}) if name == "qwen2" else (None,)
    whole_words = bool(data["model"].get("ignore_merges"))
    if name is None or normalizer not in allowed or whole_words != (name == "llama-bpe"):
        facts = {"pre_tokenizer": rule, "normalizer": normalizer, "ignore_merges": whole_words}
        raise _unknown(path, "combination", facts)
    return name


def _known_split(steps: Sequence[Mapping[str, Any]], *, own_split: bool) -> str | None:
    if own_split:
        if not steps:
            return "gpt-2"
        return "smollm" if list(steps) == [{"type": "Digits", "individual_digits": True}] else None
    if len(steps) != 1 or steps[0].get("type") != "Split":
        return None
    if steps[0].get("behavior") != "Isolated" or steps[0].get("invert"):
        return None
    return _SPLITS.get(steps[0].get("pattern", {}).get("Regex", ""))


def _prefix_space(path: Path, data: Mapping[str, Any]) -> bool:
    """Whether text gets a leading space, as SentencePiece models of the Llama 2 family do."""
    replace_spaces = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
    prepend = {"type": "Prepend", "prepend": "▁"}
    normalizer, rule = data.get("normalizer") or {}, data.get("pre_tokenizer")
    if rule is not None and rule.get("type") == "Metaspace" and not normalizer:
        return bool(rule.get("prepend_scheme", "always") != "never")
    steps = normalizer.get("normalizers", [normalizer]) if normalizer else []
    if rule is not None or steps not in ([prepend, replace_spaces], [replace_spaces]):
        raise _unknown(path, "normalizer", normalizer)
    return prepend in steps


def _scores(tokens: Sequence[str], vocab: Mapping[str, int], merges: Sequence[str]) -> list[float]:
    """SentencePiece merges the pair with the best score first: the negated rank of its merge."""
    rank: dict[str, int] = {}
    for index, merge in enumerate(merges):
        rank.setdefault("".join(merge.split(" ")), index + 1)
    return [-float(rank.get(token, 0)) if token in vocab else 0.0 for token in tokens]


def _sentencepiece_type(token: str, kind: int) -> int:
    if kind == NORMAL and len(token) == 6 and token.startswith("<0x") and token.endswith(">"):
        return BYTE
    return UNKNOWN if token == "<unk>" else kind


def _from_sentencepiece(path: Path) -> Vocabulary:
    try:
        import sentencepiece
    except ImportError as error:
        raise ModelError(
            f"Reading '{path}' needs sentencepiece, which is not installed.",
            fix="Run: pip install sentencepiece, or put the model's tokenizer.json beside it.",
        ) from error
    pieces: Any = sentencepiece.SentencePieceProcessor(str(path))
    kinds: list[tuple[Callable[[int], bool], int]] = [
        (pieces.IsUnknown, UNKNOWN),
        (pieces.IsControl, CONTROL),
        (pieces.IsUnused, UNUSED),
        (pieces.IsByte, BYTE),
    ]
    ids = range(pieces.GetPieceSize())
    if not any(pieces.IsByte(id) for id in ids):
        raise _unknown(path, "model", "SentencePiece without byte fallback")
    if (normalized := pieces.Normalize(_PROBE)) != "▁" + _PROBE.replace(" ", "▁"):
        raise _unknown(path, "normalizer", {_PROBE: normalized})
    return Vocabulary(
        model="llama",
        pre="default",
        tokens=[pieces.IdToPiece(id) for id in ids],
        types=[next((kind for test, kind in kinds if test(id)), NORMAL) for id in ids],
        scores=[pieces.GetScore(id) for id in ids],
        prefix_space=True,
    )


def _named_ids(folder: Path, words: Vocabulary) -> dict[str, int]:
    """Special tokens by their texts in tokenizer_config.json, else by their ids in the two config files."""
    names, config = _json(folder / "tokenizer_config.json"), _json(folder / "config.json")
    generation = _json(folder / "generation_config.json")
    found: dict[str, int] = {}
    place = {token: id for id, token in reversed(list(enumerate(words.tokens)))}
    for key in ("bos", "eos", "pad", "unk"):
        text = names.get(f"{key}_token")
        text = text.get("content") if isinstance(text, dict) else text
        ids = generation.get(f"{key}_token_id", config.get(f"{key}_token_id"))
        first = (ids or [None])[0] if isinstance(ids, list) else ids
        id = place.get(text, first) if text else first
        if isinstance(id, int) and 0 <= id < len(words.tokens):
            found[key] = id
    turn = next((place[text] for text in _END_OF_TURN if text in place), None)
    return found if turn is None else {**found, "eot": turn}


def _template(folder: Path) -> str | None:
    if (folder / _TEMPLATE).is_file():
        return (folder / _TEMPLATE).read_text(encoding="utf-8")
    template = _json(folder / "tokenizer_config.json").get("chat_template")
    if isinstance(template, list):
        return next((str(entry["template"]) for entry in template if entry["name"] == "default"), None)
    return template


def _json(path: Path) -> dict[str, Any]:
    value = read_json(path) if path.is_file() else {}
    return value if isinstance(value, dict) else {}


def _unknown(path: Path, part: str, value: Any) -> ModelError:
    text = json.dumps(value, ensure_ascii=False)
    return ModelError(
        f"The tokenizer '{path}' has a {part} that llama.cpp is not known to share: {text[:300]}.",
        fix="Use the transformers engine for this model.",
    )
