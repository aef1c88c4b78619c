"""Extraction conversations: some fields of a stated record, answered as compact JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from random import Random

from training.starter.corpora import Corpora
from training.starter.curriculum.conversation import Conversation, turns
from training.starter.curriculum.facts import any_record
from training.starter.curriculum.records import Record
from training.starter.curriculum.sentences import Sentences


def draw(random: Random, corpora: Corpora, sentences: Sentences) -> Conversation:
    """Records of any origin."""
    return of(random, lambda: any_record(random, corpora, sentences))


def of(random: Random, record: Callable[[], Record]) -> Conversation:
    """The first record whose fields have names of their own."""
    found = record()
    while len({fact.field for fact in found.facts}) < len(found.facts):
        found = record()
    chosen = random.sample(found.facts, random.randint(1, min(4, len(found.facts))))
    return conversation(random, found, [fact.field for fact in chosen])


def conversation(random: Random, record: Record, fields: list[str]) -> Conversation:
    """The fields come in the order the instruction names them."""
    values = {fact.field: fact.value for fact in record.facts}
    answer = {field: values[field] for field in fields}
    instruction = random.choice(
        ("Extract {}.", "Extract these fields: {}.", "Find {} in the text.", "Return {}.", "Fields: {}.")
    )
    prompt = f"{instruction.format(', '.join(fields))}\n\nText: {record.text}\n\nAnswer with JSON."
    return turns("extract", (prompt, json.dumps(answer, ensure_ascii=False, separators=(",", ":"))))
