"""Look at the labels of a classification task: unlisted, unseen, empty, single or unbalanced ones.

Pure functions from examples to notices; knows no files and removes nothing.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from smallworks.data.checks import numbers
from smallworks.data.marks import normalised
from smallworks.data.report import Notice, Severity, name_rows, shorten
from smallworks.errors import nearest
from smallworks.types import Example

IMBALANCE = 10


def unlisted_labels(examples: Sequence[Example], labels: Sequence[str], file: str) -> list[Notice]:
    """Labels that stand in the rows but not in the task file's list."""
    return _foreign(examples, labels, file, "error", "unlisted_label", "not among the task's labels")


def unseen_labels(examples: Sequence[Example], seen: Sequence[str], file: str) -> list[Notice]:
    """Labels of held-out rows that no training row has; those rows stay and count as wrong."""
    return _foreign(examples, seen, file, "warning", "unseen_label", "which no training row has")


def _foreign(
    examples: Sequence[Example], known: Sequence[str], file: str, severity: Severity, code: str, why: str
) -> list[Notice]:
    among = set(known)
    bad = [example for example in examples if example.output not in among]
    if not bad:
        return []
    names = list(dict.fromkeys(example.output for example in bad))
    sentence = f"'{file}' has the label {_listed(names)}, {why} ({name_rows(numbers(bad))})."
    fix = nearest(names[0], known) if known else "Add training rows for it."
    return [Notice.of(numbers(bad), severity, code, sentence, file=file, fix=fix)]


def training_classes(examples: Sequence[Example], labels: Sequence[str], file: str) -> list[Notice]:
    """Training classes that are empty, single, alone, spelled in two ways, or far from balanced."""
    counts = Counter(example.output for example in examples)
    notices = []
    if empty := [label for label in labels if not counts[label]]:
        sentence = f"The label {_listed(empty)} has no row in '{file}'."
        fix = "Add rows for it, or take it off the task's labels."
        notices.append(Notice.of((), "error", "empty_class", sentence, file=file, fix=fix))
    if single := [example for example in examples if counts[example.output] == 1]:
        names = [example.output for example in single]
        sentence = f"The label {_listed(names)} has a single row in '{file}' ({name_rows(numbers(single))})."
        fix = "Add a second row for it, or check that [data] output names the column of the labels."
        notices.append(Notice.of(numbers(single), "error", "single_row", sentence, file=file, fix=fix))
    if len(counts) == 1 and not single:
        sentence = f"Every row of '{file}' has the label '{shorten(examples[0].output)}'."
        fix = "Add rows of a second label: there is nothing to tell apart."
        notices.append(Notice.of((), "error", "one_class", sentence, file=file, fix=fix))
    return notices + _spellings(counts, file) + _imbalance(counts, file)


def _spellings(counts: Mapping[str, int], file: str) -> list[Notice]:
    ways: dict[str, list[str]] = defaultdict(list)
    for label in counts:
        ways[normalised(label)].append(label)
    notices = []
    for same in ways.values():
        if len(same) > 1:
            sentence = f"'{file}' spells one label in {len(same)} ways: {', '.join(map(repr, sorted(same)))}."
            fix = "Write it one way: as it stands they are different classes."
            notices.append(Notice.of((), "warning", "label_spelling", sentence, file=file, fix=fix))
    return notices


def _imbalance(counts: Mapping[str, int], file: str) -> list[Notice]:
    if not counts:
        return []
    largest, smallest = max(counts, key=counts.__getitem__), min(counts, key=counts.__getitem__)
    if counts[largest] < IMBALANCE * counts[smallest]:
        return []
    sentence = (
        f"'{file}' is unbalanced: '{shorten(largest)}' has {counts[largest]} rows,"
        f" '{shorten(smallest)}' {counts[smallest]}."
    )
    fix = "Watch macro_f1 beside accuracy, or add rows of the rare labels."
    return [Notice.of((), "warning", "imbalance", sentence, file=file, fix=fix)]


def _listed(labels: Sequence[str]) -> str:
    more = f" (and {len(labels) - 1} more)" if len(labels) > 1 else ""
    return f"'{shorten(labels[0])}'{more}"
