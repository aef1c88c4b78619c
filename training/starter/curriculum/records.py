"""A small record, the text that states it, and the questions it answers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fact:
    """One field of a record, the question it answers, and the words that answer it: the line or sentence
    that states it, where there is one, else the value alone."""

    field: str
    value: str | int
    question: str
    line: str = ""

    @property
    def answer(self) -> str:
        return self.line or str(self.value)


@dataclass(frozen=True, slots=True)
class Record:
    """`facts` are stated by the text, in its order or not; `missing` is of the same thing and not stated."""

    text: str
    facts: tuple[Fact, ...]
    missing: Fact | None = None
