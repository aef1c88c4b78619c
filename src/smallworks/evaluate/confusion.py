"""The per-class report and the confusions of a classification. Pure functions over records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from smallworks.types import Record

UNPARSED = "(unparsed)"
"""Stands for the label of an answer that named none."""


def per_class(records: Sequence[Record], *, lenient: bool = False) -> dict[str, dict[str, float]]:
    """precision, recall, f1 (0 where undefined) and support of each class expected or predicted."""
    cells = confusion_counts(records, lenient=lenient)
    due, said = Counter[str](), Counter[str]()
    for (expected, predicted), count in cells.items():
        due[expected] += count
        said[predicted] += count
    report = {}
    for label in sorted((due.keys() | said.keys()) - {UNPARSED}):
        right = cells.get((label, label), 0)
        report[label] = {
            "precision": right / said[label] if said[label] else 0.0,
            "recall": right / due[label] if due[label] else 0.0,
            "f1": 2 * right / (due[label] + said[label]),
            "support": float(due[label]),
        }
    return report


def confusion_counts(records: Sequence[Record], *, lenient: bool = False) -> dict[tuple[str, str], int]:
    """How often each (expected, predicted) came, the right ones too; UNPARSED where no label was named."""
    pairs = ((r.expected, r.lenient if lenient else r.parsed) for r in records)
    return dict(Counter((expected, UNPARSED if said is None else said) for expected, said in pairs))


def confusions(records: Sequence[Record], most: int = 20) -> list[tuple[str, str, int]]:
    """The commonest mistakes as (expected, predicted, rows), commonest first, then by name."""
    wrong = [(a, b, count) for (a, b), count in confusion_counts(records).items() if a != b]
    return sorted(wrong, key=lambda cell: (-cell[2], cell[0], cell[1]))[:most]
