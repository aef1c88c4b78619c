"""What the chosen candidate got right and wrong: its classes, confusions, probabilities, worst rows.

Knows records and examples; knows nothing of pages.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from smallworks.data import Splits
from smallworks.data.report import shorten
from smallworks.evaluate import records
from smallworks.evaluate.calibration import Reliability, reliability
from smallworks.evaluate.confusion import UNPARSED, confusion_counts, confusions
from smallworks.evaluate.metrics import METRICS
from smallworks.types import Record, Row, Task

MOST_HEAT = 12
MOST_CONFUSIONS = 12
MOST_CLASSES = 300
WORST = 10
CLIP = 400


@dataclass(frozen=True, kw_only=True)
class ClassRow:
    label: str
    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True, kw_only=True)
class Cell:
    """`share` of the rows expected as this line's label."""

    count: int
    share: float
    right: bool


@dataclass(frozen=True, kw_only=True)
class Heat:
    """Lines are expected labels, columns what was said."""

    columns: tuple[str, ...]
    lines: tuple[tuple[str, tuple[Cell, ...]], ...]


@dataclass(frozen=True, kw_only=True)
class Mistake:
    """One of the worst rows. `row` is its number in the test file, `confidence` that of what was said."""

    row: int
    text: str
    expected: str
    said: str
    confidence: float | None


@dataclass(frozen=True, kw_only=True)
class Evidence:
    classes: tuple[ClassRow, ...] = ()
    left_out: int = 0
    heat: Heat | None = None
    confusions: tuple[tuple[str, str, int], ...] = ()
    reliability: Reliability | None = None
    worst: tuple[Mistake, ...] = ()
    wrong: int = 0
    rows: int = 0


def gather(task: Task, splits: Splits, row: Row | None) -> Evidence:
    """All of it, as far as the row's records are there."""
    if row is None:
        return Evidence()
    classes = _classes(row.per_class)
    kept, left_out = classes[:MOST_CLASSES], max(0, len(classes) - MOST_CLASSES)
    if row.records is None or not row.records.is_file():
        return Evidence(classes=kept, left_out=left_out)
    done = records.read(row.records)
    score = METRICS[task.targets.metric].row if task.targets.metric in METRICS else task.targets.metric
    wrong = records.worst(done, len(done), metric=score)
    classify = task.kind == "classify"
    return Evidence(
        classes=kept,
        left_out=left_out,
        heat=_heat(done) if classify else None,
        confusions=tuple(confusions(done, MOST_CONFUSIONS)) if classify else (),
        reliability=reliability(done),
        worst=_worst(wrong[:WORST], splits),
        wrong=len(wrong),
        rows=len(done),
    )


def _classes(per_class: Mapping[str, Mapping[str, float]]) -> tuple[ClassRow, ...]:
    """The weakest first."""
    rows = [
        ClassRow(
            label=label, precision=c["precision"], recall=c["recall"], f1=c["f1"], support=int(c["support"])
        )
        for label, c in per_class.items()
    ]
    return tuple(sorted(rows, key=lambda row: (row.f1, row.label)))


def _heat(done: Sequence[Record]) -> Heat | None:
    cells = confusion_counts(done)
    expected = sorted({a for a, _ in cells})
    said = sorted({b for _, b in cells} | set(expected), key=lambda label: (label == UNPARSED, label))
    if len(said) > MOST_HEAT:
        return None
    due = {a: sum(count for (b, _), count in cells.items() if a == b) for a in expected}
    return Heat(
        columns=tuple(said),
        lines=tuple((a, tuple(_cell(cells.get((a, b), 0), due[a], a == b) for b in said)) for a in expected),
    )


def _cell(count: int, due: int, right: bool) -> Cell:
    return Cell(count=count, share=count / due, right=right)


def _worst(done: Sequence[Record], splits: Splits) -> tuple[Mistake, ...]:
    examples = {example.id: example for example in splits.test}
    found = []
    for record in done:
        example = examples.get(record.example_id)
        found.append(
            Mistake(
                row=example.row if example else 0,
                text=shorten(example.text, CLIP)
                if example
                else f"(row '{record.example_id}' of the test set)",
                expected=shorten(record.expected, CLIP),
                said=shorten(record.raw, CLIP) or "(nothing)",
                confidence=max(record.probabilities.values()) if record.probabilities else None,
            )
        )
    return tuple(found)
