"""The prompt of a classification by label code, word for word as the product renders it."""

from __future__ import annotations

import string
from collections.abc import Sequence

CODES = string.ascii_uppercase + string.ascii_lowercase + string.digits
ANSWER = "Answer with the code of one label."


def first_turn(instruction: str, labels: Sequence[str], text: str) -> str:
    listed = "\n".join(f"{code}: {label}" for code, label in zip(CODES, labels, strict=False))
    return f"{instruction}\n\nLabels:\n{listed}\n\n{later_turn(text)}"


def later_turn(text: str) -> str:
    return f"Text: {text}\n\n{ANSWER}"


def code(labels: Sequence[str], label: str) -> str:
    return CODES[labels.index(label)]
