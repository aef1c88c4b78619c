"""Three-bullet summaries: the first words of three notes among several, in their order."""

from __future__ import annotations

from random import Random

from training.starter.curriculum.conversation import Conversation, turns
from training.starter.curriculum.sentences import Sentences

INSTRUCTIONS = (
    "Summarize the text in three bullets.",
    "Give the three main points as bullets.",
    "Summarise in three short bullet points.",
)


def draw(random: Random, sentences: Sentences) -> Conversation:
    """Three to five sentences of one source; a bullet is the first clause of each of the first three."""
    source = sentences.by_topic[random.choice(sorted(sentences.by_topic))]
    picked = random.sample(source, min(random.randint(3, 5), len(source)))
    bullets = [f"- {_clause(sentence)}" for sentence in picked[:3]]
    return turns("summarize", (f"{random.choice(INSTRUCTIONS)}\n\n{' '.join(picked)}", "\n".join(bullets)))


def _clause(sentence: str) -> str:
    for mark in ("; ", ", which ", ", and ", ", but ", " because "):
        head, found, _ = sentence.partition(mark)
        if found and len(head) > 25:
            return head + "."
    return sentence
