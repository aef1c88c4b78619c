"""Passages as the context of a prompt: numbered, each line of them marked as quoted, orders left out. Pure.

No line of a document can look like a line of ours: what begins like a number of ours, a question or a turn
is set apart by a quotation mark. Control tokens of the model are the renderer's to break up.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from smallworks.rag.document import Passage
from smallworks.text.instructions import Order, without_orders

_LIKE_OURS = re.compile(
    r"^(?=\s*(?:\[\d+\]|(?:context|question|answer|system|user|assistant)\s*:))", re.I | re.M
)


@dataclass(frozen=True, kw_only=True)
class Shown:
    """One passage as the model reads it; `orders` are the sentences that it does not get to read."""

    number: int
    passage: Passage
    text: str
    orders: tuple[Order, ...] = ()


def shown(passages: Sequence[Passage]) -> list[Shown]:
    """Numbered from 1 in their order."""
    found = []
    for number, passage in enumerate(passages, 1):
        text, orders = without_orders(passage.text)
        heading, more = without_orders(" > ".join(passage.headings))
        lines = _LIKE_OURS.sub("> ", text)
        head = f"[{number}] {heading}".rstrip()
        found.append(Shown(number=number, passage=passage, text=f"{head}\n{lines}", orders=(*more, *orders)))
    return found


def context(parts: Sequence[Shown]) -> str:
    return "\n\n".join(part.text for part in parts)
