"""HTML as blocks under its headings, by the standard library's parser: what a page shows, and nothing else.

Scripts, styles, comments, navigation and elements that are hidden by attribute or by their own style are
left out. Style sheets are not read, so text that they hide is kept: the scan for instructions is there for
that.
"""

from __future__ import annotations

import re
from html.parser import HTMLParser

from smallworks.rag.document import Block, Document

_SKIPPED = "script style noscript template svg math nav iframe object select datalist button form"
_VOID = "area base br col embed hr img input link meta source track wbr"
_BREAKING = """
address article aside blockquote body dd details div dl dt fieldset figcaption figure footer header hr html li
main ol p pre section summary table tbody tfoot thead title tr ul
"""
SKIPPED, VOID, BREAKING = (frozenset(names.split()) for names in (_SKIPPED, _VOID, _BREAKING))
LEVELS = {f"h{level}": level for level in range(1, 7)}
NAMED = ("author", "date", "description", "keywords")
"""The meta elements that become metadata."""
_HIDDEN = re.compile(
    r"display\s*:\s*none|visibility\s*:\s*hidden|opacity\s*:\s*0(?![.\d])|font-size\s*:\s*0(?![.\d])", re.I
)
_DECLARED = re.compile(r"<!(?!--|doctype\b)[^>]*>?", re.I)
"""Marked sections such as <![if …]>: a browser shows nothing of them, and the parser may fail on them."""
_SPACE = re.compile(r"\s+")


def read(text: str, name: str) -> Document:
    page = _Page()
    page.feed(_DECLARED.sub("", text))
    page.close()
    page.flush()
    first = next((block.headings[0] for block in page.blocks if block.headings), name)
    return Document(title=page.title or first, blocks=tuple(page.blocks), metadata=page.metadata)


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.blocks: list[Block] = []
        self.title = ""
        self.metadata: dict[str, str] = {}
        self._path: list[tuple[int, str]] = []
        self._open: list[str] = []
        """Elements inside the outermost one that is left out, that one first."""
        self._inside: list[str] = []
        self._text: list[str] = []
        self._rows: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if self._open:
            if tag not in VOID:
                self._open.append(tag)
            return
        given = {name: value or "" for name, value in attrs}
        if tag == "meta" and given.get("name", "").lower() in NAMED and given.get("content"):
            self.metadata[given["name"].lower()] = given["content"].strip()
        if tag in SKIPPED or _hidden(given):
            if tag not in VOID:
                self._open.append(tag)
            return
        if tag == "br":
            self._text.append("\n" if "pre" in self._inside else " ")
        elif tag in ("td", "th") and self._text:
            self._text.append(" | ")
        elif tag in BREAKING or tag in LEVELS:
            self._break(tag)
        if tag in ("pre", "title", "table", *LEVELS):
            self._inside.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if self._open:
            if tag in self._open:
                del self._open[len(self._open) - 1 - self._open[::-1].index(tag) :]
            return
        if tag in LEVELS or tag == "title":
            self._name(tag)
        elif tag in BREAKING:
            self._break(tag)
        if tag in self._inside:
            del self._inside[len(self._inside) - 1 - self._inside[::-1].index(tag) :]
        if tag == "table":
            self._table()

    def handle_data(self, data: str) -> None:
        if not self._open:
            self._text.append(data)

    def _break(self, tag: str) -> None:
        """Inside a table only rows are apart: a cell's paragraphs are one text."""
        if "table" in self._inside and tag not in ("tr", "table"):
            self._text.append(" ")
        else:
            self.flush()

    def flush(self) -> None:
        """What was said since the last border, as a block or as a row of the table under way."""
        code = "pre" in self._inside
        text = "".join(self._text)
        text = text.strip("\n") if code else _SPACE.sub(" ", text).strip()
        self._text.clear()
        if not text.strip():
            return
        if "table" in self._inside:
            self._rows.append(_SPACE.sub(" ", text))
        else:
            self.blocks.append(Block(text=text, headings=self._headings, lines=code))

    @property
    def _headings(self) -> tuple[str, ...]:
        return tuple(name for _, name in self._path)

    def _name(self, tag: str) -> None:
        text = _SPACE.sub(" ", "".join(self._text)).strip()
        self._text.clear()
        if tag == "title":
            self.title = text
            return
        self._path = [one for one in self._path if one[0] < LEVELS[tag]]
        if text:
            self._path.append((LEVELS[tag], text))

    def _table(self) -> None:
        if self._rows and "table" not in self._inside:
            rows = "\n".join(self._rows)
            self.blocks.append(Block(text=rows, headings=self._headings, lines=True, head=1))
            self._rows = []


def _hidden(given: dict[str, str]) -> bool:
    return (
        "hidden" in given
        or given.get("aria-hidden") == "true"
        or bool(_HIDDEN.search(given.get("style", "")))
    )
