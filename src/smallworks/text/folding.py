"""A text as it is compared: no case, no punctuation, compatible forms as one. Knows no language."""

from __future__ import annotations

import re
import unicodedata


def fold(text: str) -> str:
    """Lower case, compatibility forms unified, punctuation and underscores as single spaces."""
    return " ".join(re.sub(r"[\W_]+", " ", unicodedata.normalize("NFKC", text).casefold()).split())
