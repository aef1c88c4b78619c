"""A small record, the text that states it, and the questions it answers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fact:
    """One field of a record, and the question it answers."""

    field: str
    value: str | int
    question: str


@dataclass(frozen=True, slots=True)
class Record:
    """`facts` are stated by the text, in its order or not; `missing` is of the same thing and not stated."""

    text: str
    facts: tuple[Fact, ...]
    missing: Fact | None = None
