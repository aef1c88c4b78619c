"""Trains the starter's byte-level BPE tokenizer; its pre-tokenizer is the one llama.cpp calls "smollm"."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

END_OF_TEXT, TURN_START, TURN_END, PAD = "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|pad|>"
SPECIAL = (END_OF_TEXT, TURN_START, TURN_END, PAD)  # ids 0, 1, 2, 3 in this order

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n'}}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


def train(texts: Iterable[str], vocab_size: int) -> Tokenizer:
    """Every byte is in the alphabet, so A-Z, a-z and 0-9 are single tokens whatever the texts hold."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=True, use_regex=True),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(SPECIAL),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def capital_pairs(texts: Iterable[str], least: int = 15, repeats: int = 300) -> Iterator[str]:
    """Two-letter capital words often enough that BPE makes each one token: they serve as label codes."""
    found = Counter(pair for text in texts for pair in re.findall(r"\b[A-Z]{2}\b", text))
    for pair, count in found.items():
        if count >= least:
            yield "\n".join([pair] * repeats)


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
