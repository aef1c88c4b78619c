"""A document as it is read, and the passages it is cut into. Values alone; knows no format and no disk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

Metadata = Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Block:
    """A paragraph, a list, a table or a row, under its headings from the outermost in.

    `lines`: cut it between lines where it must be cut (a table, code), and say its first `head` lines again.
    `alone`: it shares a passage with nothing (a row of a CSV file, with `metadata` of its own).
    """

    text: str
    headings: tuple[str, ...] = ()
    lines: bool = False
    head: int = 0
    alone: bool = False
    metadata: Metadata = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Document:
    """`unseen` is how many characters were taken out of it because nobody sees them."""

    title: str
    blocks: tuple[Block, ...]
    metadata: Metadata = field(default_factory=dict)
    unseen: int = 0


@dataclass(frozen=True, kw_only=True)
class Passage:
    """What is found and cited: a piece of one document. `id` is 0 until it is stored.

    `place` counts the passages of a document from 1.
    """

    text: str
    headings: tuple[str, ...] = ()
    metadata: Metadata = field(default_factory=dict)
    id: int = 0
    document: str = ""
    place: int = 0

    @property
    def path(self) -> str:
        """Where it stands, for people: 'guides/plans.md > Plans > Trying Marina'."""
        return " > ".join((self.document, *self.headings))

    @property
    def whole(self) -> str:
        """The text under its headings, as an embedder reads it."""
        return f"{' > '.join(self.headings)}\n{self.text}" if self.headings else self.text
