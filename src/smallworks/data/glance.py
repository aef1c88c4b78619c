"""A glance at an even sample of rows: which languages they are in, what many of them begin or end with.

A bounded part of a bounded number of texts is held, whatever the size of the file. Nothing is taken out.
"""

from __future__ import annotations

import importlib.util
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from smallworks.data.boilerplate import boilerplate
from smallworks.data.language import LIBRARY, UNKNOWN, detector
from smallworks.data.report import Notice, count_rows, name_rows, shorten

LOOKED = 4_000
"""At least so many rows are looked at, and fewer than twice as many, where a file has them."""
CLIP = 2_000
"""Characters that are held of the beginning and of the end of a text."""
SHOWN = 5
"""Passages that are told, the most frequent ones."""


@dataclass
class Sample:
    """Every row at first; every second, fourth, … of all as they grow many."""

    rows: list[tuple[int, str]] = field(default_factory=list)
    stride: int = 1
    seen: int = 0

    def take(self, row: int, text: str) -> None:
        if self.seen % self.stride == 0:
            clipped = text if len(text) <= 2 * CLIP else f"{text[:CLIP]}\n{text[-CLIP:]}"
            self.rows.append((row, clipped))
        self.seen += 1
        if len(self.rows) == 2 * LOOKED:
            self.rows, self.stride = self.rows[::2], 2 * self.stride


def languages(sample: Sample, file: str) -> tuple[Mapping[str, int] | None, list[Notice]]:
    """Rows by language code ('' where it cannot be told), and those that are not in the commonest one.

    None without the library that tells them.
    """
    if importlib.util.find_spec(LIBRARY) is None or not sample.rows:
        return None, []
    detect = detector()
    told = [(row, detect(text)) for row, text in sample.rows]
    counts = Counter(code for _, code in told)
    named = Counter({code: count for code, count in counts.items() if code != UNKNOWN})
    if len(named) < 2:
        return dict(counts), []
    main = named.most_common(1)[0][0]
    rows = [row for row, code in told if code not in (UNKNOWN, main)]
    others = ", ".join(f"{count:,} {code}" for code, count in named.most_common() if code != main)
    sentence = (
        f"{count_rows(rows)} of '{file}' seem not to be in the commonest language, {main}: {others}"
        f" ({name_rows(rows)}; {len(told):,} rows were looked at)."
    )
    fix = f"Look at them; 'smallworks data clean --language {main}' takes such rows out."
    return dict(counts), [Notice.of(rows, "info", "language", sentence, file=file, fix=fix)]


def passages(sample: Sample, file: str) -> list[Notice]:
    """What many rows begin or end with, such as a signature."""
    texts = [text for _, text in sample.rows]
    notices = []
    for passage in boilerplate(texts)[:SHOWN]:
        share = passage.texts / len(texts)
        sentence = (
            f"{passage.texts:,} of {len(texts):,} rows of '{file}' ({share:.0%}) {passage.end} with"
            f" '{shorten(passage.text)}'."
        )
        notice = Notice(
            severity="info", code="boilerplate", sentence=sentence, file=file, count=passage.texts
        )
        notices.append(notice)
    return notices
