"""Markdown as blocks under its headings: paragraphs, lists, tables, code. A few lines of rules, no renderer.

Marks of emphasis stay: they do not hurt a search, and a passage is shown as it was written. Comments go,
since a reader of the page does not see them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from smallworks.rag.document import Block, Document

_HEADING = re.compile(r" {0,3}(#{1,6})(?:[ \t]+(.*?))?(?:[ \t]+#+)?[ \t]*$")
_UNDERLINE = re.compile(r" {0,3}(=+|-+)[ \t]*$")
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_RULE = re.compile(r"[ \t]*\|?[ \t]*:?-+:?[ \t]*(\|[ \t]*:?-*:?[ \t]*)*$")
_COMMENT = re.compile(r"<!--.*?(?:-->|\Z)", re.DOTALL)
_FACT = re.compile(r"([A-Za-z][\w -]{0,40}):[ \t]*(.+)$")


def read(text: str, name: str) -> Document:
    """The title is the first heading of the first level, or the front matter's, else the file's name."""
    metadata, text = _front_matter(text)
    blocks = tuple(_blocks(_COMMENT.sub("", text).split("\n")))
    first = next((block.headings[0] for block in blocks if block.headings), name)
    return Document(title=metadata.get("title", first), blocks=blocks, metadata=metadata)


def _front_matter(text: str) -> tuple[dict[str, str], str]:
    """Plain `key: value` lines between two lines of three dashes; what else YAML can say is left out."""
    lines = text.split("\n")
    if lines[0].strip() != "---" or "---" not in (line.strip() for line in lines[1:]):
        return {}, text
    end = next(at for at, line in enumerate(lines[1:], 1) if line.strip() == "---")
    facts = [_FACT.match(line) for line in lines[1:end]]
    found = {fact[1].strip().lower(): fact[2].strip().strip("\"'") for fact in facts if fact}
    return found, "\n".join(lines[end + 1 :])


def _blocks(lines: Sequence[str]) -> Iterator[Block]:
    path: list[tuple[int, str]] = []
    held: list[str] = []

    def block() -> Iterator[Block]:
        if any(line.strip() for line in held):
            yield _block(held, tuple(name for _, name in path))
        held.clear()

    fence = ""
    for line in lines:
        if fence:
            held.append(line)
            if line.strip().startswith(fence) and not line.strip().strip(fence[0]):
                fence = ""
                yield from block()
        elif found := _FENCE.match(line):
            yield from block()
            fence = found[1]
            held.append(line)
        elif heading := _HEADING.match(line):
            yield from block()
            _enter(path, len(heading[1]), heading[2] or "")
        elif (under := _UNDERLINE.match(line)) and len(held) == 1 and "|" not in held[0] and held[0].strip():
            name = held[0].strip()
            held.clear()
            _enter(path, 1 if under[1][0] == "=" else 2, name)
        elif not line.strip():
            yield from block()
        else:
            held.append(line)
    yield from block()


def _enter(path: list[tuple[int, str]], level: int, name: str) -> None:
    while path and path[-1][0] >= level:
        path.pop()
    if name.strip():
        path.append((level, name.strip()))


def _block(held: Sequence[str], headings: tuple[str, ...]) -> Block:
    text = "\n".join(held)
    if _FENCE.match(held[0]):
        return Block(text=text, headings=headings, lines=True)
    if len(held) > 1 and "|" in held[0] and _RULE.match(held[1]):
        return Block(text=text, headings=headings, lines=True, head=2)
    return Block(text=text, headings=headings)
