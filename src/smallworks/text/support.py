"""How much of an answer stands in its context: words and numbers compared, nothing understood.

A lexical measure. It finds what was made up out of nowhere: a name, a figure, a sentence that the context
has no words for. It does not find a context's own words put together wrongly ("not" left out, two names
exchanged), and it takes a paraphrase for made up. Knows texts; knows nothing of records.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from statistics import fmean

from smallworks.text.folding import fold

QUESTIONS = ("question", "query")
"""Inputs that ask, and so support nothing."""
SENTENCE = re.compile(r"(?<=[.!?])\s+|\n+")
NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_ENGLISH = """
a about after all also am an and any are as at be because been before being between both but by can could
did do does during each for from had has have he her here him his how i if in into is it its just may me
might more most must my no not of on only or other our out over shall she should so some such than that
the their them then there these they this those through to under until up upon very was we were what when
where which while who whom whose why will with would yes you your s t
"""
FUNCTION_WORDS = frozenset(_ENGLISH.split())
"""English words that say nothing about the world; other languages keep all of theirs."""


def context_of(inputs: Mapping[str, str]) -> str:
    """The inputs that an answer may rest on: all but the question, or all where there is nothing else."""
    rest = [text for name, text in inputs.items() if name.casefold() not in QUESTIONS]
    return "\n".join(rest or inputs.values())


def supported(answer: str, context: str) -> float | None:
    """Mean support of the answer's sentences, 0–1; None where no sentence says anything to look up."""
    shares = [share for _, share in by_sentence(answer, context) if share is not None]
    return fmean(shares) if shares else None


def by_sentence(answer: str, context: str) -> list[tuple[str, float | None]]:
    """Each sentence of the answer with its support, None where it says nothing to look up."""
    words, numbers = _said(context)
    told = [sentence.strip() for sentence in SENTENCE.split(answer) if sentence.strip()]
    return [(sentence, _sentence(sentence, words, numbers)) for sentence in told]


def _sentence(text: str, words: AbstractSet[str], numbers: AbstractSet[str]) -> float | None:
    """The share of its content words and numbers that the context has; 0 where it lacks a number."""
    own_words, own_numbers = _said(text)
    content = own_words - FUNCTION_WORDS
    if not content and not own_numbers:
        return None
    if own_numbers - numbers:
        return 0.0
    return (len(content & words) + len(own_numbers)) / (len(content) + len(own_numbers))


def _said(text: str) -> tuple[AbstractSet[str], AbstractSet[str]]:
    """The words of a text, folded, and its numbers in one spelling: 1,200 as 1200, 2.50 as 2.5."""
    numbers = frozenset(_plain(number) for number in NUMBER.findall(text))
    return frozenset(fold(NUMBER.sub(" ", text)).split()), numbers


def _plain(number: str) -> str:
    whole, point, part = re.sub(r",(?=\d{3}(?!\d))", "", number).replace(",", ".").partition(".")
    part = part.rstrip("0")
    return (whole.lstrip("0") or "0") + (point + part if part else "")
