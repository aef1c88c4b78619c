"""Trains the starter's byte-level BPE tokenizer; its pre-tokenizer is the one llama.cpp calls "smollm".

A word is cut alike wherever it stands: "scar", " scar" and, where it is frequent, "Scar" and " Scar" are one
token each, of one family. A usual BPE learns " scar" alone and cuts `"scar` into smaller pieces, so that a
value copied into JSON shares no first token with the text that it was copied from.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

END_OF_TEXT, TURN_START, TURN_END, PAD = "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|pad|>"
SPECIAL = (END_OF_TEXT, TURN_START, TURN_END, PAD)  # ids 0, 1, 2, 3 in this order
SPACE = "Ġ"  # how a byte-level BPE writes a space
LETTERS = 0.44  # of the vocabulary, before capitals and spaces
LEAST_CAPITALS = 150  # words that begin with a capital token, before it becomes one

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n'}}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)

Merge = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Form:
    """A token as a form of a word: `word` numbers the word, in lower case and without its space."""

    word: int
    spaced: bool
    capital: bool


def train(texts: Iterable[str], vocab_size: int) -> Tokenizer:
    """Every byte is in the alphabet, so A-Z, a-z and 0-9 are single tokens whatever the texts hold.

    Merges of lower-case letters come first, each followed by its capital twin where that is frequent. A space
    joins the first token of a word last, the most frequent ones, until `vocab_size` is reached.
    """
    texts = list(texts)
    words = _words(texts)
    merges = _letter_merges(texts, int(vocab_size * LETTERS))
    capitals = _frequent_capitals(words, merges)
    letters = _assembled(merges, capitals, ())
    spaced = _first_tokens({word[1:]: times for word, times in words.items() if word[:1] == SPACE}, letters)
    room = vocab_size - letters.get_vocab_size()
    return _assembled(merges, capitals, [token for token, _ in spaced.most_common(room)])


def forms(tokenizer: Tokenizer) -> list[Form]:
    """By token id. Control tokens are words of their own."""
    numbers: dict[str, int] = {}
    found = []
    for token, _ in sorted(tokenizer.get_vocab().items(), key=lambda pair: pair[1]):
        bare = token.removeprefix(SPACE) or token
        word = numbers.setdefault(token if token in SPECIAL else bare.lower(), len(numbers))
        found.append(Form(word, spaced=bare != token, capital=bare[0].isupper()))
    return found


def _words(texts: Iterable[str]) -> Counter[str]:
    rule = _rule()
    return Counter(word for text in texts for word, _ in rule.pre_tokenize_str(text))


def _letter_merges(texts: Iterable[str], size: int) -> list[Merge]:
    """Of lower-cased words without the space before them."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = _rule(pre_tokenizers.Split(" ", "isolated"))
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator((text.lower() for text in texts), trainer)
    return [(left, right) for left, right in json.loads(tokenizer.to_str())["model"]["merges"]]


def _frequent_capitals(words: Mapping[str, int], merges: Sequence[Merge]) -> set[str]:
    """Lower-case tokens whose capital twin begins enough words, and those that these are merged from."""
    left = {first + second: first for first, second in merges}
    every = _assembled(merges, set(left), ())
    bare: Counter[str] = Counter()
    for word, times in words.items():
        bare[word.removeprefix(SPACE)] += times
    found: set[str] = set()
    for token, times in _first_tokens(bare, every).items():
        small = token[0].lower() + token[1:]
        while token[0].isupper() and times >= LEAST_CAPITALS and small in left and small not in found:
            found.add(small)
            small = left[small]
    return found


def _first_tokens(words: Mapping[str, int], tokenizer: Tokenizer) -> Counter[str]:
    count: Counter[str] = Counter()
    for word, times in words.items():
        if word:
            count[tokenizer.model.tokenize(word)[0].value] += times
    return count


def _assembled(merges: Sequence[Merge], capitals: set[str], spaced: Sequence[str]) -> Tokenizer:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {token: number for number, token in enumerate((*SPECIAL, *alphabet))}
    kept: list[Merge] = []

    def add(left: str, right: str) -> None:
        if left in vocab and right in vocab and left + right not in vocab:
            vocab[left + right] = len(vocab)
            kept.append((left, right))

    for left, right in merges:
        add(left, right)
        if left + right in capitals:
            add(left[0].upper() + left[1:], right)
    for token in spaced:
        add(SPACE, token)
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=kept))
    tokenizer.add_special_tokens(list(SPECIAL))
    tokenizer.pre_tokenizer = _rule()
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def _rule(*between: pre_tokenizers.PreTokenizer) -> pre_tokenizers.PreTokenizer:
    """Single digits, then the pattern of GPT-2: a space belongs to the word that follows it."""
    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            *between,
            pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=True, use_regex=True),
        ]
    )


def save(tokenizer: Tokenizer, folder: Path, max_positions: int) -> None:
    """The Hugging Face files: tokenizer.json, tokenizer_config.json, chat_template.jinja."""
    from transformers import PreTrainedTokenizerFast

    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=END_OF_TEXT,
        eos_token=TURN_END,
        pad_token=PAD,
        model_max_length=max_positions,
        clean_up_tokenization_spaces=False,
    )
    wrapped.chat_template = CHAT_TEMPLATE
    wrapped.save_pretrained(str(folder))
    tokenizer.save(str(folder / "tokenizer.json"))  # as trained: transformers adds an empty post-processor
    settings = folder / "tokenizer_config.json"
    table = json.loads(settings.read_text(encoding="utf-8"))
    # transformers 4 does not know the class name that 5 writes
    table["tokenizer_class"] = "PreTrainedTokenizerFast"
    settings.write_text(json.dumps(table, indent=2) + "\n", encoding="utf-8")
