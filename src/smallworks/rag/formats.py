"""From a file to a Document, by its ending. What nobody sees is taken out of every text here, once.

| ending | how | what carries the headings |
|---|---|---|
| .txt | paragraphs | nothing |
| .md, .markdown | our own rules | headings; front matter becomes metadata |
| .html, .htm, .xhtml | the standard library's parser | h1 to h6; meta elements become metadata |
| .csv, .tsv | one row, one passage: `column: value` lines | nothing; short cells become metadata |
| .pdf | pypdf, without OCR | the page number |
| .docx | python-docx | heading styles |
"""

from __future__ import annotations

import csv
import io
import logging
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from zipfile import ZipFile

from smallworks.errors import DataError, MissingExtra
from smallworks.rag import markdown, webpage
from smallworks.rag.document import Block, Document, Metadata
from smallworks.text import unseen

LARGEST = 64 * 2**20
"""Bytes of one file that is read."""
UNPACKED = 512 * 2**20
"""Bytes that a .docx may unpack to: a small archive can hold gigabytes of nothing."""
SHORT = 60
"""Characters up to which a cell of a CSV file is worth filtering by."""
_BLANK_LINES = re.compile(r"\n[ \t]*(?:\n[ \t]*)+")


def read(path: Path) -> Document:
    """Raises DataError for a file that is not what its ending says, MissingExtra for want of a library."""
    try:
        size = path.stat().st_size
        if size > LARGEST:
            raise DataError(
                f"'{path}' has {size / 2**20:.0f} MiB, above {LARGEST // 2**20}.",
                fix="Divide it into smaller files.",
            )
        return _clean(READERS[path.suffix.lower()](path))
    except OSError as error:
        raise DataError(
            f"'{path}' cannot be read: {error.strerror or error}.", fix="Check the file."
        ) from error


def text_of(data: bytes, path: Path) -> str:
    """UTF-8, or UTF-16 by its mark; else the Western encoding of old files. Raises DataError for no text."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", errors="replace")
    if b"\0" in data[:4096]:
        raise DataError(f"'{path}' is not text: it holds zero bytes.", fix="Give the file its right ending.")
    try:
        return data.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError:
        return data.decode("cp1252", errors="replace").replace("\r\n", "\n")


def _clean(document: Document) -> Document:
    blocks, taken = [], unseen.count(document.title)
    for block in document.blocks:
        taken += unseen.count(block.text) + sum(map(unseen.count, block.headings))
        headings = tuple(map(_line, block.headings))
        blocks.append(
            replace(block, text=unseen.plain(block.text), headings=headings, metadata=_facts(block.metadata))
        )
    title, metadata = _line(document.title), _facts(document.metadata)
    return Document(title=title, blocks=tuple(blocks), metadata=metadata, unseen=taken)


def _line(text: str) -> str:
    return " ".join(unseen.plain(text).split())


def _facts(metadata: Metadata) -> dict[str, str]:
    return {_line(name): _line(value) for name, value in metadata.items()}


def _plain_text(path: Path) -> Document:
    parts = _BLANK_LINES.split(text_of(path.read_bytes(), path))
    return Document(title=path.stem, blocks=tuple(Block(text=part) for part in parts if part.strip()))


def _markdown(path: Path) -> Document:
    return markdown.read(text_of(path.read_bytes(), path), path.stem)


def _html(path: Path) -> Document:
    return webpage.read(text_of(path.read_bytes(), path), path.stem)


def _table(path: Path) -> Document:
    text = text_of(path.read_bytes(), path)
    delimiter = "\t" if path.suffix.lower() == ".tsv" else _delimiter(text)
    rows = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        return Document(title=path.stem, blocks=tuple(_rows(rows)))
    except csv.Error as error:
        raise DataError(
            f"'{path}' is no table at line {rows.line_num}: {error}.", fix="Mend that line."
        ) from error


def _rows(rows: csv.DictReader[str]) -> Iterator[Block]:
    for row in rows:
        cells = {name: value.strip() for name, value in row.items() if name and isinstance(value, str)}
        cells = {name: value for name, value in cells.items() if value}
        if cells:
            text = "\n".join(f"{name}: {value}" for name, value in cells.items())
            short = {name: value for name, value in cells.items() if len(value) <= SHORT}
            yield Block(text=text, alone=True, metadata=short)


def _delimiter(text: str) -> str:
    head = text.split("\n", 1)[0]
    return max(",;\t", key=head.count)


def _pdf(path: Path) -> Document:
    try:
        import pypdf
    except ImportError as error:
        raise MissingExtra("pypdf", extra="rag", wanted_for=f"Reading '{path.name}'") from error
    logging.getLogger("pypdf").setLevel(logging.CRITICAL)
    try:
        reader = pypdf.PdfReader(path)
        if reader.is_encrypted and not reader.decrypt(""):
            raise DataError(f"'{path}' is locked with a password.", fix="Save it without one.")
        pages = [page.extract_text() for page in reader.pages]
        told = reader.metadata
        title = (told.title if told and isinstance(told.title, str) else None) or path.stem
    except DataError:
        raise
    except Exception as error:
        # A broken PDF fails in as many ways as there are objects in it; the other documents must go in.
        raise DataError(
            f"'{path}' is not a PDF that can be read: {type(error).__name__}.", fix="Save it anew."
        ) from error
    if not any(page.strip() for page in pages):
        raise DataError(f"'{path}' holds pictures and no text.", fix="Run OCR on it first.")
    blocks = [
        Block(text=part, headings=(f"page {number}",))
        for number, page in enumerate(pages, 1)
        for part in _BLANK_LINES.split(page)
    ]
    return Document(title=title, blocks=tuple(blocks))


def _docx(path: Path) -> Document:
    try:
        import docx
    except ImportError as error:
        raise MissingExtra("python-docx", extra="rag", wanted_for=f"Reading '{path.name}'") from error
    try:
        with ZipFile(path) as archive:
            unpacked = sum(part.file_size for part in archive.infolist())
        if unpacked > UNPACKED:
            raise DataError(
                f"'{path}' unpacks to {unpacked / 2**20:.0f} MiB.", fix="Look at where it comes from."
            )
        opened = docx.Document(str(path))
        title = opened.core_properties.title or path.stem
        return Document(title=title, blocks=tuple(_parts(opened)))
    except DataError:
        raise
    except Exception as error:  # of zip, of lxml, of python-docx: each has its own
        raise DataError(f"'{path}' is not a Word document (.docx).", fix="Save it anew as .docx.") from error


def _parts(opened: Any) -> Iterator[Block]:
    """Paragraphs and tables in their order, under the headings that their styles tell."""
    path: list[tuple[int, str]] = []
    for part in opened.iter_inner_content():
        headings = tuple(name for _, name in path)
        if hasattr(part, "rows"):
            rows = [" | ".join(cell.text.replace("\n", " ") for cell in row.cells) for row in part.rows]
            yield Block(text="\n".join(rows), headings=headings, lines=True, head=1)
            continue
        style, text = (part.style.name if part.style else "") or "", _shown(part).strip()
        level = 1 if style == "Title" else int(style[8:]) if re.fullmatch(r"Heading \d", style) else 0
        if level and text:
            path = [*(one for one in path if one[0] < level), (level, text)]
        elif text:
            yield Block(text=text, headings=headings)


def _shown(paragraph: Any) -> str:
    """Its text without runs that are marked as hidden."""
    if any(run.font.hidden for run in paragraph.runs):
        return "".join(run.text for run in paragraph.runs if not run.font.hidden)
    return str(paragraph.text)


READERS: dict[str, Callable[[Path], Document]] = {
    ".txt": _plain_text,
    ".text": _plain_text,
    ".md": _markdown,
    ".markdown": _markdown,
    ".html": _html,
    ".htm": _html,
    ".xhtml": _html,
    ".csv": _table,
    ".tsv": _table,
    ".pdf": _pdf,
    ".docx": _docx,
}
"""What can be read, by ending."""
