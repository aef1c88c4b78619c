"""Reads the corpora archives into plain values; knows nothing about tokens, prompts or batches."""

from __future__ import annotations

import hashlib
import json
import re
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

Rows = tuple[dict[str, Any], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Gloss:
    """One WordNet synset: its words, its lexicographer file ("noun.food") and its definition."""

    words: tuple[str, ...]
    topic: str
    definition: str
    examples: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpora:
    """What the curriculum and the plain-text stream are made of. Every field may be empty."""

    books: Mapping[str, str] = field(default_factory=dict)
    textbooks: Mapping[str, str] = field(default_factory=dict)
    stories: tuple[str, ...] = ()
    countries: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    glosses: tuple[Gloss, ...] = ()
    commands: Rows = ()
    problems: Rows = ()
    dialogues: Mapping[str, tuple[tuple[str, ...], ...]] = field(default_factory=dict)
    instructions: Rows = ()
    reasoning: tuple[tuple[str, str, str], ...] = ()


def read(folder: Path) -> Corpora:
    members = {path.name.removesuffix(".tar.xz"): dict(_members(path)) for path in archives(folder)}
    wordnet = _jsonl(members["open-english-wordnet"]["glosses.jsonl"])
    return Corpora(
        books={name: _book(text) for name, text in members["classic-books"].items() if name.endswith(".md")},
        textbooks={
            name.removeprefix("osbooks-").removesuffix(".txt"): text
            for name, text in members["openstax-ccby"].items()
            if name.startswith("osbooks-")
        },
        stories=tuple(row["text"] for row in _jsonl(members["african-storybook-en"]["stories.jsonl"])),
        countries=_countries(members["world-factbook"]["factbook.txt"]),
        glosses=tuple(_gloss(row) for row in wordnet),
        commands=_jsonl(members["tldr-pages"]["tldr.jsonl"]),
        problems=_jsonl(members["gsm8k"]["train.jsonl"]),  # never test.jsonl: an evaluation set
        dialogues=_dialogues(members["chatterbot-english"]),
        # never seed_tasks.jsonl: an evaluation set
        instructions=_jsonl(members["self-instruct"]["user_oriented_instructions.jsonl"]),
        # only the parts whose own licence is plainly permissive
        reasoning=tuple(
            row for name in ("strategyqa", "qasc") for row in _tsv(members["flan-cot"][f"{name}_train.tsv"])
        ),
    )


def archives(folder: Path) -> list[Path]:
    found = sorted(folder.glob("*.tar.xz"))
    if not found:
        raise FileNotFoundError(f"No corpora at '{folder}': it holds no *.tar.xz. Pass --corpora FOLDER.")
    return found


def hashes(folder: Path) -> dict[str, str]:
    """sha256 of each archive, the provenance a run keeps."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in archives(folder)}


def _members(path: Path) -> Iterator[tuple[str, str]]:
    with tarfile.open(path, "r:xz") as archive:
        for member in archive:
            handle = archive.extractfile(member)
            if handle is not None:
                yield member.name.rsplit("/", 1)[-1], handle.read().decode("utf-8", errors="replace")


def _jsonl(text: str) -> Rows:
    return tuple(json.loads(line) for line in text.splitlines() if line.strip())


def _tsv(text: str) -> Iterator[tuple[str, str, str]]:
    for line in text.splitlines():
        cells = line.replace("\\n", "\n").split("\t")
        if len(cells) == 3:
            yield cells[0], cells[1], cells[2]


def _gloss(row: dict[str, Any]) -> Gloss:
    return Gloss(
        words=tuple(row["words"]),
        topic=row["topic"],
        definition=row["definition"],
        examples=tuple(row["examples"]),
    )


def _book(text: str) -> str:
    """The prose of a book: hard line breaks joined, the header of title, author and year dropped."""
    body = text.split("-------", 1)[-1]
    paragraphs = (" ".join(part.split()) for part in re.split(r"\n\s*\n", body))
    return "\n\n".join(part for part in paragraphs if part)


def _countries(text: str) -> dict[str, dict[str, str]]:
    countries: dict[str, dict[str, str]] = {}
    for line in text.splitlines():
        if line.startswith("# "):
            facts = countries.setdefault(line[2:].strip(), {})
        elif ": " in line:
            key, value = line.split(": ", 1)
            facts.setdefault(key.strip(), value.strip())
    return countries


def _dialogues(files: Mapping[str, str]) -> dict[str, tuple[tuple[str, ...], ...]]:
    dialogues = {}
    for name, text in files.items():
        if name.endswith(".yml"):
            turns = (tuple(str(turn) for turn in talk) for talk in yaml.safe_load(text)["conversations"])
            talks = dict.fromkeys(talk for talk in turns if len(talk) >= 2)
            dialogues[name.removesuffix(".yml")] = tuple(talks)
    return dialogues
