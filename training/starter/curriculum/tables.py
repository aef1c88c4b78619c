"""Plain-text lists that teach copying and code look-up densely: most tokens after the list follow from it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random

from training.starter.corpora import Corpora
from training.starter.curriculum import phrases
from training.starter.curriculum.labels import CODES


def stream(corpora: Corpora, seed: int) -> Iterator[str]:
    """Endless lists of short everyday words, or of the hand-written ones when there is no WordNet."""
    heads = {gloss.words[0] for gloss in corpora.glosses}
    short = {word for word in heads if word.isalpha() and word.islower() and len(word) < 9}
    words = tuple(sorted(short | {*phrases.ITEMS, *phrases.JOBS, *phrases.COLOURS}))
    random = Random(seed)
    while True:
        yield document(random, words)


def document(random: Random, words: tuple[str, ...]) -> str:
    """One list and what follows from it, about a hundred tokens."""
    form: Callable[[Random, list[str]], str] = random.choice((_asked, _asked, _asked, _repeated, _both))
    return form(random, random.sample(words, random.randint(3, 12)))


def _asked(random: Random, labels: list[str]) -> str:
    """The coded list, then labels in any order, each with its code."""
    codes = dict(zip(labels, CODES, strict=False))
    asked = random.choices(labels, k=16)
    frame = random.choice(
        ("{label}: {code}", "{label}\n{code}", "Text: {label}\n{code}", "the {label} is {code}")
    )
    return "\n".join(
        [_listed(labels), "", *(frame.format(label=label, code=codes[label]) for label in asked)]
    )


def _repeated(random: Random, labels: list[str]) -> str:
    """Words, then the same words again."""
    mark = random.choice((" ", ", ", "\n"))
    return "\n".join([mark.join(labels)] * random.randint(2, 4))


def _both(random: Random, labels: list[str]) -> str:
    """The coded list, then codes in any order, each with its label."""
    pairs = [*zip(CODES, labels, strict=False)]
    return "\n".join(
        [_listed(labels), "", *(f"{code} is {label}" for code, label in random.choices(pairs, k=12))]
    )


def _listed(labels: list[str]) -> str:
    return "\n".join(["Labels:", *(f"{code}: {label}" for code, label in zip(CODES, labels, strict=False))])
