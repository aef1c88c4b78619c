"""Grounded questions: the answer is copied from the context, or the context does not hold it."""

from __future__ import annotations

from random import Random

from training.starter.corpora import Corpora
from training.starter.curriculum.conversation import Conversation, turns
from training.starter.curriculum.facts import any_record
from training.starter.curriculum.records import Fact

UNKNOWN = "I don't know based on the provided documents."
INSTRUCTIONS = (
    "Answer the question from the context.",
    "Use only the context to answer.",
    "Answer from the documents.",
    "Read the context and answer the question.",
)


def draw(random: Random, corpora: Corpora) -> Conversation:
    """Three questions in ten ask what the context lacks: another record, or another line of one shown."""
    records = [any_record(random, corpora) for _ in range(random.randint(1, 3))]
    stated = {fact.question for record in records for fact in record.facts}
    fact = random.choice(random.choice(records).facts)
    if sum(fact.question == other.question for record in records for other in record.facts) > 1:
        records = [record for record in records if fact in record.facts][:1]
    reply = str(fact.value)
    if random.random() < 0.3:
        strange = random.choice(records).missing or _strange(random, corpora, stated)
        fact, reply = (strange, UNKNOWN) if strange else (fact, reply)
    context = "\n".join(record.text for record in records)
    instruction = random.choice(INSTRUCTIONS)
    return turns("answer", (f"{instruction}\n\nContext: {context}\n\nQuestion: {fact.question}", reply))


def _strange(random: Random, corpora: Corpora, stated: set[str]) -> Fact | None:
    for _ in range(8):
        fact = random.choice(any_record(random, corpora).facts)
        if fact.question not in stated:
            return fact
    return None
