"""Turns corpora into plain-text documents, split into training and held-out; knows nothing about chat."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from training.starter.corpora import Corpora
from training.starter.curriculum.facts import is_held_out

CHUNK = 4000  # characters; the unit that is shuffled and held out
HELD_OUT = 100  # one chunk in this many is never trained on


@dataclass(frozen=True, slots=True)
class Documents:
    """Plain documents by source, the held-out ones apart."""

    training: Mapping[str, tuple[str, ...]]
    held_out: Mapping[str, tuple[str, ...]]


# How often each source is drawn, in documents of about equal size; simple prose first for a small model.
WEIGHTS: Mapping[str, float] = {
    "books": 0.32,
    "textbooks": 0.26,
    "stories": 0.04,
    "countries": 0.08,
    "glosses": 0.14,
    "commands": 0.06,
    "problems": 0.07,
    "reasoning": 0.03,
}


def build(corpora: Corpora) -> Documents:
    training: dict[str, tuple[str, ...]] = {}
    held_out: dict[str, tuple[str, ...]] = {}
    for source, render in _RENDERERS.items():
        chunks = [chunk for text in render(corpora) for chunk in _chunks(text)]
        training[source] = tuple(chunk for chunk in chunks if not _is_held_out(chunk))
        held_out[source] = tuple(chunk for chunk in chunks if _is_held_out(chunk))
    return Documents(training, held_out)


def _is_held_out(chunk: str) -> bool:
    return zlib.crc32(chunk.encode()) % HELD_OUT == 0


def _chunks(text: str) -> Iterator[str]:
    """Paragraphs gathered into pieces of about `CHUNK` characters."""
    gathered: list[str] = []
    size = 0
    for paragraph in re.split(r"(?<=\n)\n+", text):
        gathered.append(paragraph.rstrip("\n"))
        size += len(paragraph)
        if size > CHUNK:
            yield "\n\n".join(gathered)
            gathered, size = [], 0
    if size > 40:
        yield "\n\n".join(gathered)


def _countries(corpora: Corpora) -> Iterator[str]:
    for name, facts in corpora.countries.items():
        if is_held_out(name):
            continue
        yield f"{name}\n\n" + "\n\n".join(f"{key}: {value}" for key, value in facts.items())


def _glosses(corpora: Corpora) -> Iterator[str]:
    """Dictionary pages of forty entries, in a fixed scattered order so that a page mixes topics."""
    order = sorted(corpora.glosses, key=lambda gloss: zlib.crc32(gloss.definition.encode()))
    entries = [_entry(gloss.words, gloss.definition, gloss.examples) for gloss in order]
    yield from ("\n\n".join(entries[start : start + 40]) for start in range(0, len(entries), 40))


def _entry(words: tuple[str, ...], definition: str, examples: tuple[str, ...]) -> str:
    return ", ".join(words) + ": " + definition + "".join(f'. "{example}"' for example in examples)


def _commands(corpora: Corpora) -> Iterator[str]:
    for row in corpora.commands:
        lines = "\n".join(f"- {item['task']}: `{item['cmd']}`" for item in row["examples"])
        yield f"{row['command']}\n{row['description']}\n{lines}"


def _problems(corpora: Corpora) -> Iterator[str]:
    for row in corpora.problems:
        answer = re.sub(r"<<[^>]*>>", "", row["answer"]).replace("#### ", "The answer is ")
        yield f"{row['question']}\n{answer}"


def _reasoning(corpora: Corpora) -> Iterator[str]:
    for question, answer, why in corpora.reasoning:
        yield f"{question}\n{why}\nThe answer is {answer}."


_RENDERERS: Mapping[str, Callable[[Corpora], Iterator[str]]] = {
    "books": lambda corpora: iter(corpora.books.values()),
    "textbooks": lambda corpora: iter(corpora.textbooks.values()),
    "stories": lambda corpora: iter(corpora.stories),
    "countries": _countries,
    "glosses": _glosses,
    "commands": _commands,
    "problems": _problems,
    "reasoning": _reasoning,
}
