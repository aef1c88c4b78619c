"""Single sentences from the corpora, by topic, and the filling of hand-written templates."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from random import Random

from training.starter.corpora import Corpora
from training.starter.curriculum import phrases

MOST = 4000  # sentences kept a topic


@dataclass(frozen=True, slots=True)
class Sentences:
    by_topic: Mapping[str, tuple[str, ...]]
    all: tuple[str, ...]


def gather(corpora: Corpora, random: Random) -> Sentences:
    """Topics come from the source: a sentence of the astronomy book is about astronomy."""
    sources: dict[str, Iterable[str]] = {
        "fiction": corpora.books.values(),
        "children's story": corpora.stories,
        "computer command": (row["description"] for row in corpora.commands),
        "arithmetic problem": (row["question"] for row in corpora.problems),
        "geography": (facts["Background"] for facts in corpora.countries.values() if "Background" in facts),
    }
    for book, text in corpora.textbooks.items():
        sources[book.removeprefix("introduction-").replace("-", " ")] = (text,)
    by_topic = {topic: _pick(split(texts), random) for topic, texts in sources.items()}
    kept = {topic: found for topic, found in by_topic.items() if found}
    return Sentences(kept, tuple(sentence for found in kept.values() for sentence in found))


def split(texts: Iterable[str]) -> list[str]:
    """Plain sentences of 30 to 160 characters."""
    parts = (part for text in texts for part in re.split(r"(?<=[.!?])\s+", text))
    return [part for part in parts if 30 <= len(part) <= 160 and part[0].isupper() and "\n" not in part]


def fill(template: str, random: Random, **given: str) -> str:
    """Replaces {name}, {city}, {item} and their like by words drawn at random; other braces stay."""

    def draw(match: re.Match[str]) -> str:
        key = match.group(1)
        return given[key] if key in given else random.choice(_SLOTS[key]) if key in _SLOTS else match.group(0)

    return re.sub(r"\{([a-z]+)\}", draw, template)


_SLOTS = {
    "name": phrases.FIRST_NAMES,
    "city": phrases.CITIES,
    "item": phrases.ITEMS,
    "thing": phrases.THINGS,
    "colour": phrases.COLOURS,
    "day": phrases.DAYS,
    "month": phrases.MONTHS,
    "job": phrases.JOBS,
}


def _pick(found: list[str], random: Random) -> tuple[str, ...]:
    return tuple(random.sample(found, min(MOST, len(found))))
