"""Made-up requests by subject: an opening and parts in any order, and JSON of the parts that it states."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random

from training.starter.corpora import Corpora
from training.starter.curriculum import values
from training.starter.curriculum.commands import OPENINGS
from training.starter.curriculum.conversation import Conversation, turns
from training.starter.curriculum.records import Fact, Record

STATED = (
    "Extract {} where stated.",
    "Find {}; leave out what is absent.",
    "Fields, if given: {}.",
    "Extract {}.",
)
UNNAMED = (
    "Extract the details of the request.",
    "Extract what the user asks for.",
    "Name the parts of the sentence.",
    "Find the slots.",
    "Return the parts that are stated.",
    "Extract all fields.",
)
MOST_TURNS = 4


@dataclass(frozen=True, slots=True)
class Part:
    """One thing a request may state: what it may be called, the kind of its value, the words around it."""

    names: tuple[str, ...]
    kind: str
    forms: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Subject:
    openings: tuple[str, ...]
    parts: Mapping[str, Part]


def _part(line: str) -> Part:
    names, kind, forms = (piece.strip() for piece in line.split(" | "))
    return Part(tuple(names.split(", ")), kind, tuple(forms.split("; ")))


def _read() -> dict[str, Subject]:
    tables = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
    found = {}
    for subject, table in tables.items():
        parts = [_part(line) for line in table["parts"]]
        found[subject] = Subject(tuple(table["openings"]), {part.names[0]: part for part in parts})
    return found


SUBJECTS = _read()
NAMED = re.compile(r"\{([a-z_]+)\}")


def draw(random: Random, corpora: Corpora) -> Record:
    """One request of any subject, its parts by their first names."""
    stated: dict[str, str] = {}
    text = ""
    while not stated:
        text, stated = sentence(random, corpora, random.choice(list(SUBJECTS.values())))
    facts = (Fact(part, said, f"What is the {part.replace('_', ' ')}?") for part, said in stated.items())
    return Record(text, tuple(facts))


def sentence(random: Random, corpora: Corpora, subject: Subject) -> tuple[str, dict[str, str]]:
    """A request, and the value of every part that it states."""
    stated: dict[str, str] = {}

    def value(part: str) -> str:
        stated[part] = values.draw(subject.parts[part].kind, random, corpora)
        return stated[part]

    def said(part: str) -> str:
        form = random.choice(subject.parts[part].forms)
        return _filled(form.replace("*", "{" + part + "}"), value)

    opening = random.choice(OPENINGS) + _filled(random.choice(subject.openings), value)
    left = [part for part in subject.parts if part not in stated]
    chosen = random.sample(left, min(len(left), random.choice((0, 1, 1, 2, 2, 3, 4))))
    pieces = [said(part) for part in chosen if part not in stated]
    if pieces and random.random() < 0.12:
        pieces = [pieces[0].lstrip(", "), opening, *pieces[1:]]
    else:
        pieces = [opening, *pieces]
    text = " ".join(pieces).replace(" ,", ",") + random.choice(("", "", "", "", ".", "?", " please"))
    return _cased(random, text, stated)


def _filled(form: str, value: Callable[[str], str]) -> str:
    return NAMED.sub(lambda match: value(match.group(1)), form)


def _cased(random: Random, text: str, stated: dict[str, str]) -> tuple[str, dict[str, str]]:
    """Small letters throughout as people type, or a capital at the head that no value begins with."""
    if random.random() < 0.4:
        return text.lower(), {part: value.lower() for part, value in stated.items()}
    large = text[0].upper() + text[1:]
    return (large if all(value in large for value in stated.values()) else text), stated


def conversation(random: Random, corpora: Corpora) -> Conversation:
    """Several requests of one subject under one instruction, as few-shot turns are laid out.

    Where the instruction names fields, a part goes by any of its names and only those asked are said, in
    the order asked; where it names none, all are said by their first names, sorted, as a schema sorts them.
    """
    subject = random.choice(list(SUBJECTS.values()))
    drawn = [sentence(random, corpora, subject) for _ in range(random.randint(1, MOST_TURNS))]
    if random.random() < 0.4:
        names, order = {part: part for part in subject.parts}, sorted(subject.parts)
        instruction = random.choice(UNNAMED)
    else:
        names = {part: random.choice(found.names) for part, found in subject.parts.items()}
        order = _asked(random, subject, {part for _, stated in drawn for part in stated})
        instruction = random.choice(STATED).format(", ".join(names[part] for part in order))
    pairs = []
    for turn, (text, stated) in enumerate(drawn):
        answer = {names[part]: stated[part] for part in order if part in stated}
        head = "" if turn else f"{instruction}\n\n"
        said = json.dumps(answer, ensure_ascii=False, separators=(",", ":"))
        pairs.append((f"{head}Text: {text}\n\nAnswer with JSON.", said))
    return turns("extract", *pairs)


def _asked(random: Random, subject: Subject, stated: set[str]) -> list[str]:
    """Most of what the requests state, and up to three parts that they may not."""
    chosen = {part for part in sorted(stated) if random.random() < 0.8}
    chosen |= set(random.sample(list(subject.parts), random.randint(1, 3)))
    return random.sample(sorted(chosen), len(chosen))
