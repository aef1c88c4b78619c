"""Grounded questions: the answer is the line of the context that holds it, or the context does not hold it.

A whole line ("Capital: Lima") rather than its value ("Lima"): each of its words follows from the one before
it, which a model of this size learns in minutes; to say the value at once it must look up twice (LOG.md).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from random import Random

from training.starter.corpora import Corpora
from training.starter.curriculum import facts
from training.starter.curriculum.conversation import Conversation, turns
from training.starter.curriculum.records import Fact, Record
from training.starter.curriculum.sentences import Sentences

UNKNOWN = "I don't know based on the provided documents."
INSTRUCTIONS = (
    "Answer the question from the context.",
    "Use only the context to answer.",
    "Answer from the documents.",
    "Read the context and answer the question.",
)
BRIEF = ("Answer in as few words as you can.", "Give the value alone.", "Answer briefly, from the context.")
MOST = 8  # questions on one context
LACKING, BRIEFLY, LINED = 0.4, 0.5, 0.75  # see Shares


@dataclass(frozen=True, slots=True)
class Shares:
    """`lacking`: of the questions, those that the context cannot answer. `brief`: of the contexts, those
    that ask for values alone. `lined`: of the records, those of one fact a line."""

    lacking: float = LACKING
    brief: float = BRIEFLY
    lined: float = LINED


def draw(
    random: Random, corpora: Corpora, sentences: Sentences, shares: Shares | None = None
) -> Conversation:
    """A context of one record, at times of two or three, and several questions on it."""
    shares = shares or Shares()
    record = facts.lined_record if random.random() < shares.lined else facts.any_record
    records = [record(random, corpora, sentences) for _ in range(random.choice((1, 1, 1, 2, 3)))]
    context = "\n".join(record.text for record in records)
    asked = random.sample(_stated(records), min(MOST, len(_stated(records))))
    brief = random.random() < shares.brief
    pairs = [(fact.question, str(fact.value) if brief else fact.answer) for fact in asked]
    lacking = _lacking(random, corpora, sentences, records)
    for place in range(len(pairs)):
        if lacking and random.random() < shares.lacking:
            pairs[place] = (lacking.pop().question, UNKNOWN)
    if not pairs:
        return draw(random, corpora, sentences, shares)
    (question, reply), *later = pairs
    first = f"{random.choice(BRIEF if brief else INSTRUCTIONS)}\n\nContext: {context}\n\nQuestion: {question}"
    return turns("answer", (first, reply), *((f"Question: {text}", said) for text, said in later))


def _stated(records: list[Record]) -> list[Fact]:
    """Facts that one record alone states: a question two of them answer has no one answer."""
    count = Counter(fact.question for record in records for fact in record.facts)
    return [fact for record in records for fact in record.facts if count[fact.question] == 1]


def _lacking(random: Random, corpora: Corpora, sentences: Sentences, records: list[Record]) -> list[Fact]:
    """What the records themselves leave out, before what other records state."""
    stated = {fact.question for record in records for fact in record.facts}
    own = [record.missing for record in records if record.missing]
    other = [random.choice(facts.any_record(random, corpora, sentences).facts) for _ in range(2)]
    found = {fact.question: fact for fact in (*other, *own) if fact.question not in stated}
    return list(found.values())
