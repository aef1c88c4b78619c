"""Readable names for WordNet's lexicographer files, and the ones kept out of training to measure transfer."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping

from training.starter.corpora import Gloss

NAMES: Mapping[str, tuple[str, ...]] = {
    "noun.act": ("act", "action or activity"),
    "noun.animal": ("animal", "animals"),
    "noun.artifact": ("man-made object", "artifact", "object"),
    "noun.attribute": ("attribute", "quality"),
    "noun.cognition": ("thought", "knowledge and ideas"),
    "noun.communication": ("communication", "language and writing"),
    "noun.event": ("event", "happening"),
    "noun.food": ("food", "food and drink"),
    "noun.group": ("group", "group of people or things"),
    "noun.location": ("place", "location"),
    "noun.object": ("natural object", "nature and geography"),
    "noun.person": ("person", "people"),
    "noun.phenomenon": ("natural phenomenon", "phenomenon"),
    "noun.possession": ("money", "money and possessions"),
    "noun.process": ("process", "natural process"),
    "noun.quantity": ("quantity", "amount or unit"),
    "noun.relation": ("relation", "relation between things"),
    "noun.state": ("state", "condition"),
    "noun.substance": ("substance", "chemical or material"),
    "verb.change": ("change", "to change something"),
    "verb.communication": ("speaking", "to say or ask"),
    "verb.competition": ("competition", "fighting and sport"),
    "verb.consumption": ("eating", "eating and drinking"),
    "verb.contact": ("touching", "to touch or hit"),
    "verb.creation": ("making", "to create something"),
    "verb.motion": ("movement", "to move"),
    "verb.perception": ("senses", "seeing and hearing"),
    "verb.possession": ("giving", "giving and taking"),
    "verb.weather": ("weather", "weather and sky"),
    # held out: never a label in training
    "noun.body": ("body part", "body"),
    "noun.plant": ("plant", "plants"),
    "noun.feeling": ("feeling", "emotion"),
    "noun.time": ("time", "time period"),
    "noun.shape": ("shape", "form and shape"),
}

HELD_OUT = frozenset({"noun.body", "noun.plant", "noun.feeling", "noun.time", "noun.shape"})


def short(glosses: Iterable[Gloss]) -> tuple[Gloss, ...]:
    """Definitions long enough to say something and short enough for a prompt."""
    return tuple(gloss for gloss in glosses if 15 < len(gloss.definition) < 110)


def is_held_out(gloss: Gloss) -> bool:
    """One gloss in forty is never classified; it may appear as plain text, without its topic."""
    return zlib.crc32(gloss.definition.encode()) % 40 == 0
