"""Documents cut into passages along their structure: never across a heading, seldom inside a sentence.

Whole paragraphs, lists and tables are put together while they fit. What is longer alone is cut between
sentences (a table between rows, under its head again), at last between words. Knows no format.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from smallworks.rag.document import Block, Document, Passage
from smallworks.text.sentences import sentences

SIZE = 800
"""Characters of a passage at most: some 180 tokens, which an embedder reads whole; four fit a prompt."""
SMALLEST = 100


def cut(document: Document, size: int = SIZE) -> list[Passage]:
    """The passages of a document in order; every word of it is in exactly one, heads of tables aside."""
    found: list[Passage] = []
    for headings, blocks in groupby(document.blocks, key=lambda block: block.headings):
        for text, metadata in _packed(list(blocks), size):
            found.append(
                Passage(
                    text=text,
                    headings=headings,
                    metadata={**document.metadata, **metadata},
                    place=len(found) + 1,
                )
            )
    return found


def _packed(blocks: Sequence[Block], size: int) -> Iterator[tuple[str, dict[str, str]]]:
    """Texts of up to `size` characters from blocks under the same headings."""
    held = ""
    for block in blocks:
        if block.alone:
            if held:
                yield held, {}
                held = ""
            yield from ((piece, dict(block.metadata)) for piece in _pieces(block, size))
            continue
        for piece in _pieces(block, size):
            if held and len(held) + 2 + len(piece) > size:
                yield held, {}
                held = ""
            held = f"{held}\n\n{piece}" if held else piece
    if held:
        yield held, {}


def _pieces(block: Block, size: int) -> Iterator[str]:
    text = block.text.strip("\n") if block.lines else block.text.strip()
    if len(text) <= size:
        if text.strip():
            yield text
        return
    if not block.lines:
        yield from _filled(sentences(text), " ", size)
        return
    rows = text.split("\n")
    head = "\n".join(rows[: block.head])
    if head and len(head) > size // 2:  # a head that leaves no room for rows is said once
        head, rows = "", rows
    else:
        rows = rows[block.head :]
    room = size - (len(head) + 1 if head else 0)
    yield from (f"{head}\n{piece}" if head else piece for piece in _filled(rows, "\n", room))


def _filled(parts: Sequence[str], between: str, size: int) -> Iterator[str]:
    """Parts put together up to `size`; a part that is longer by itself is cut between words."""
    held = ""
    for part in parts:
        for piece in [part] if len(part) <= size else _words(part, size):
            if held and len(held) + len(between) + len(piece) > size:
                yield held
                held = ""
            held = f"{held}{between}{piece}" if held else piece
    if held.strip():
        yield held


def _words(text: str, size: int) -> Iterator[str]:
    while len(text) > size:
        end = text.rfind(" ", size // 2, size + 1)
        end = end if end > 0 else size
        yield text[:end].rstrip()
        text = text[end:].lstrip()
    if text:
        yield text
