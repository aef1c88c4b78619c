"""The generated curriculum: an endless seeded stream of chat conversations that teach narrow tasks."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from random import Random

from training.starter.corpora import Corpora
from training.starter.curriculum import answer, classify, extract, rewrite, summary
from training.starter.curriculum.conversation import Conversation
from training.starter.curriculum.sentences import Sentences, gather

Source = Callable[[Random], Conversation]


def stream(corpora: Corpora, seed: int, drawn: int = 0) -> Iterator[Conversation]:
    """The same corpora, seed and count of conversations drawn before give the same ones, for ever.

    Plain look-ups, of a code or of a fact, come first in number and fade over some thousand conversations: a
    model that cannot yet find "B" beside its label learns nothing from harder questions, and one that cannot
    yet find a fact learns to refuse all of them.
    """
    sentences = gather(corpora, Random(0))
    easy: list[Source] = [
        _classify(classify.lookup),
        lambda random: answer.draw(random, corpora, sentences, lacking_share=0.0),
    ]
    sources = _sources(corpora, sentences)
    random = Random(seed)
    while True:
        ease = 40.0 * math.exp(-drawn / 8_000)
        weights = [*[3.0 + ease] * len(easy), *(weight for weight, _ in sources)]
        (source,) = random.choices([*easy, *(source for _, source in sources)], weights)
        yield source(random)
        drawn += 1


def _sources(corpora: Corpora, sentences: Sentences) -> list[tuple[float, Source]]:
    """Weights are shares of conversations: classification is the starter's first duty."""
    sources = [(4.0 * weight, _classify(draw)) for weight, draw in classify.draws(corpora, sentences)]
    sources.append((20.0, lambda random: extract.draw(random, corpora, sentences)))
    sources.append((24.0, lambda random: answer.draw(random, corpora, sentences)))
    if sentences.all:
        sources.append((3.0, lambda random: rewrite.rewrite(random, sentences)))
        sources.append((2.0, lambda random: summary.draw(random, sentences)))
    if corpora.dialogues:
        sources.append((3.0, lambda random: rewrite.chat(random, corpora)))
    return sources


def _classify(draw: classify.Draw) -> Source:
    return lambda random: classify.conversation(draw(random))
