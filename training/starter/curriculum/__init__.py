"""The generated curriculum: an endless seeded stream of chat conversations that teach narrow tasks."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from random import Random

from training.starter.corpora import Corpora
from training.starter.curriculum import answer, classify, extract, requests, rewrite, sheets, summary
from training.starter.curriculum.conversation import Conversation
from training.starter.curriculum.sentences import Sentences, gather

Source = Callable[[Random], Conversation]
HARD_FROM = 12_000  # conversations before the first question that is refused, or answered by a value alone
ALL_MIXED = 60_000  # conversations after which the mixture hardly changes any more
LINES = answer.Shares(lacking=0.0, brief=0.0, lined=1.0)


def stream(corpora: Corpora, seed: int, drawn: int = 0) -> Iterator[Conversation]:
    """The same corpora, seed and count of conversations drawn before give the same ones, for ever.

    What one look-up answers comes first, nearly alone: codes of labels, fields of made-up sheets as JSON,
    lines that answer a question. These work after some thousand conversations and make the rest learnable;
    the other way round nothing does (LOG.md). Refusals and values without their line come last, because a
    model that cannot yet find a fact learns to refuse all of them.
    """
    sentences = gather(corpora, Random(0))
    easy: list[tuple[float, Source]] = [
        (1.0, _classify(classify.lookup)),
        (2.0, lambda random: extract.of(random, lambda: sheets.sheet(random, corpora))),
        (2.0, lambda random: answer.draw(random, corpora, sentences, LINES)),
    ]
    others = _sources(corpora, sentences)
    random = Random(seed)
    while True:
        lead = 3.0 + 200.0 * math.exp(-drawn / 3_000)
        late = 1 - math.exp(-max(0, drawn - HARD_FROM) / 10_000)
        weighted = [
            *((lead * weight, source) for weight, source in easy),
            (8.0 + 20.0 * late, lambda random, late=late: _answer(random, corpora, sentences, late)),
            *others,
        ]
        ((_, source),) = random.choices(weighted, [weight for weight, _ in weighted])
        yield source(random)
        drawn += 1


def _answer(random: Random, corpora: Corpora, sentences: Sentences, late: float) -> Conversation:
    """`late`, from 0 to 1: how many of the hard questions there are."""
    shares = answer.Shares(answer.LACKING * late, answer.BRIEFLY * late)
    return answer.draw(random, corpora, sentences, shares)


def _sources(corpora: Corpora, sentences: Sentences) -> list[tuple[float, Source]]:
    """Weights are shares of conversations: classification is the starter's first duty."""
    sources = [(3.0 * weight, _classify(draw)) for weight, draw in classify.draws(corpora, sentences)]
    sources.append((14.0, lambda random: extract.draw(random, corpora, sentences)))
    sources.append((16.0, lambda random: requests.conversation(random, corpora)))
    if sentences.all:
        sources.append((3.0, lambda random: rewrite.rewrite(random, sentences)))
        sources.append((2.0, lambda random: summary.draw(random, sentences)))
    if corpora.dialogues:
        sources.append((3.0, lambda random: rewrite.chat(random, corpora)))
    return sources


def _classify(draw: classify.Draw) -> Source:
    return lambda random: classify.conversation(draw(random))
