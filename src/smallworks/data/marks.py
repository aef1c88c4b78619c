"""What rows are told apart by: their texts, or marks of them where the texts are too much to hold.

Knows neither files nor what is done about rows that are alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b

from smallworks.files import hash_value
from smallworks.types import Example

BEGINNING = 80
"""Characters that are held of a text, to show it."""


def normalised(text: str) -> str:
    """Text without case and spacing: what counts as the same text in leaks and conflicts."""
    return " ".join(text.casefold().split())


@dataclass(frozen=True, kw_only=True)
class Marked(Example):
    """A row without its text: `inputs` hold its beginning. The marks are those of the whole row."""

    whole: int
    like: int
    place: str


def marked(example: Example, *, seed: int, keep_output: bool) -> Marked:
    """The row by its marks; `keep_output` for labels, and for what has to fit a schema."""
    return Marked(
        id=example.id,
        inputs={"input": example.text[:BEGINNING]},
        output=example.output if keep_output else example.output[:BEGINNING],
        tags=example.tags,
        row=example.row,
        group=example.group,
        whole=exact(example),
        like=same(example),
        place=drawn(example, seed),
    )


def exact(example: Example) -> int:
    """Equal where input and output are, to the letter.

    By Python's 64-bit hash: among a million rows, two share one in 1 of 37 million files.
    """
    return example.whole if isinstance(example, Marked) else hash((example.text, example.output))


def same(example: Example) -> int:
    """Equal where the normalised texts are: 64 bits of their hash."""
    if isinstance(example, Marked):
        return example.like
    digest = blake2b(normalised(example.text).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big")


def drawn(example: Example, seed: int) -> str:
    """By what a row is drawn into a part: the hash of seed and normalised text."""
    if isinstance(example, Marked):
        return example.place
    return hash_value([seed, normalised(example.text)])
