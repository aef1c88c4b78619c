"""Short rewriting and chat: copying, case, word lists, small talk and human-written instructions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random

from training.starter.corpora import Corpora
from training.starter.curriculum.conversation import Conversation, turns
from training.starter.curriculum.sentences import Sentences

REWRITES: Mapping[str, Callable[[str], str]] = {
    "Repeat the text.": lambda text: text,
    "Copy the text exactly.": lambda text: text,
    "Write the text in capital letters.": lambda text: text.upper(),
    "Write the text in small letters.": lambda text: text.lower(),
    "Give the first word of the text.": lambda text: text.split()[0],
    "Give the last word of the text.": lambda text: text.split()[-1].strip(".!?\"'"),
    "List the first three words, separated by commas.": lambda text: ", ".join(text.split()[:3]),
}


def rewrite(random: Random, sentences: Sentences) -> Conversation:
    instruction = random.choice(sorted(REWRITES))
    text = random.choice(sentences.all)[:100]
    return turns("rewrite", (f"{instruction}\n\nText: {text}", REWRITES[instruction](text)))


def chat(random: Random, corpora: Corpora) -> Conversation:
    """Small talk, or one instruction of the human-written set."""
    if corpora.instructions and random.random() < 0.4:
        row = random.choice(corpora.instructions)
        instance = row["instances"][0]
        prompt = "\n\n".join(part for part in (row["instruction"], instance["input"]) if part)
        return turns("chat", (prompt, instance["output"]))
    talk = random.choice(corpora.dialogues[random.choice(sorted(corpora.dialogues))])
    return turns("chat", *zip(talk[::2], talk[1::2], strict=False))
