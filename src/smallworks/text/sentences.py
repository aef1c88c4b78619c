"""The sentences and lines of a text, by their marks alone. Knows no language."""

from __future__ import annotations

import re

_SENTENCE = re.compile(r"(?:(?<=[.!?])|(?<=[.!?][\"'”’)\]]))\s+|(?<=[。！？])\s*|\n+")


def sentences(text: str) -> list[str]:
    """Stripped, none empty."""
    return [piece for part in _SENTENCE.split(text) if part and (piece := part.strip())]
