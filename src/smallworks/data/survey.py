"""Go once through a task's rows: which ones to take out and why, which ones to look at, what is personal.

Holds numbers for each row, and folded texts up to a bound, the rest of them on disk: memory grows with the
number of rows, not with their length. Writes nothing that stays.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from smallworks.data import glance
from smallworks.data.glance import Sample
from smallworks.data.language import detector, known
from smallworks.data.marks import normalised
from smallworks.data.near import folded, similar
from smallworks.data.report import Notice, count_rows, name_rows, shorten
from smallworks.data.shapes import Problem, Shape
from smallworks.data.shelf import Shelf
from smallworks.data.source import name_in, no_usable_row, scan, shape_of
from smallworks.seams import Progress, silent
from smallworks.text import personal
from smallworks.types import Example, Task

Reason = Literal["empty", "unreadable", "language", "leak", "identical", "near"]
PROGRESS_EVERY = 20_000
LONGEST_OUTPUT = 100
"""Characters of an output that are held; a longer one is told apart by its hash."""
OUTLIER_ROWS = 50
OUTLIER_FENCE = 3.0
"""Lengths are looked at from so many rows on; 'far out' is 3 interquartile ranges of log length (Tukey)."""


@dataclass(frozen=True, kw_only=True)
class Removal:
    """A row of the training file to take out. `of` is the row that it repeats, in `file` ('' for its own)."""

    row: int
    reason: Reason
    of: int | None = None
    file: str = ""
    what: str = ""


@dataclass(frozen=True, kw_only=True)
class Survey:
    """What was seen. `notices` are on rows that stay; `personal` counts rows and finds by file and kind.

    `languages` counts the rows of an even sample by their language; None where nothing can tell them.
    """

    file: str
    shape: Shape
    names: tuple[str, ...]
    rows: int
    removals: Mapping[int, Removal]
    notices: tuple[Notice, ...]
    personal: Mapping[str, Mapping[str, Mapping[str, int]]]
    languages: Mapping[str, int] | None = None


def survey(
    task: Task,
    progress: Progress = silent,
    *,
    language: str | None = None,
    closer: bool = False,
    namer: personal.Namer | None = None,
) -> Survey:
    """Look at the training file, and at held-out ones for leaks. Raises DataError for an unreadable file.

    With `language`, a row that is surely in another one is to be taken out. `closer` also tells of languages
    and boilerplate, which takes some seconds. With `namer`, the names that it tells count as personal data.
    """
    foreign = _foreign(language)
    path = task.data.train
    file = name_in(task, path)
    shape, names = shape_of(path, task.data.columns, file)
    seen, sample = _Seen(), Sample()
    counts: dict[str, dict[str, dict[str, int]]] = {}
    held_out = _held_out(task, counts, progress, namer)
    found: dict[str, dict[str, int]] = counts.setdefault(file, {})
    rows = 0
    for number, _, read in scan(task, path, shape):
        rows += 1
        if rows % PROGRESS_EVERY == 0:
            progress("read", rows, 0, f"{rows:,} rows")
        if isinstance(read, Problem):
            reason: Reason = "unreadable" if read.what else "empty"
            seen.removals[number] = Removal(row=number, reason=reason, what=read.what)
        elif other := foreign(read.text):
            seen.removals[number] = Removal(row=number, reason="language", what=other)
        else:
            if closer:
                sample.take(number, read.text)
            _count(found, read, task, namer)
            seen.take(read, held_out)
    if all(removal.reason == "empty" for removal in seen.removals.values()) and len(seen.removals) == rows:
        raise no_usable_row(path, shape)
    progress("read", rows, rows, "done")
    judged = task.kind in ("classify", "extract")
    notices = [*seen.conflicts(file)] if judged else []
    notices += _similar(seen, file, suspects=task.kind == "classify", progress=progress)
    notices += _outliers(seen, file)
    languages, found_languages = glance.languages(sample, file)
    notices += [*found_languages, *glance.passages(sample, file)]
    return Survey(
        file=file,
        shape=shape,
        names=names,
        rows=rows,
        removals=seen.removals,
        notices=tuple(notices),
        personal=counts,
        languages=languages,
    )


def _foreign(language: str | None) -> Callable[[str], str]:
    """A function from a text to the other language that it is surely in, '' for all that stays."""
    if language is None:
        return lambda text: ""
    known(language)
    detect = detector()
    return lambda text: "" if (found := detect(text)) == language else found


@dataclass
class _Seen:
    """The rows so far. `texts`, `plain`, `rows`, `outputs` and `lengths` are of rows that stay, side by side.

    Texts are told apart by Python's 64-bit hashes: among a million, two share one in 1 of 37 million files.
    """

    removals: dict[int, Removal] = field(default_factory=dict)
    texts: Shelf = field(default_factory=Shelf)
    folds: array[int] = field(default_factory=lambda: array("q"))
    plain: array[int] = field(default_factory=lambda: array("q"))
    rows: array[int] = field(default_factory=lambda: array("q"))
    outputs: list[str] = field(default_factory=list)
    lengths: array[int] = field(default_factory=lambda: array("q"))
    exact: dict[int, int] = field(default_factory=dict)
    first: dict[int, int] = field(default_factory=dict)

    def take(self, example: Example, held_out: Mapping[int, tuple[str, int]]) -> None:
        """File the row under what it repeats, or among those that stay."""
        text, row = example.text, example.row
        fold = folded(text)
        removal = self._removal(row, hash((text, example.output)), hash((fold, example.output)))
        if hash(fold) in held_out:
            file, twin = held_out[hash(fold)]
            removal = Removal(row=row, reason="leak", of=twin, file=file)
        if removal is not None:
            self.removals[row] = removal
            return
        self.texts.append(fold)
        self.folds.append(hash(fold))
        self.plain.append(hash(normalised(text)))
        self.rows.append(row)
        self.outputs.append(sys.intern(_mark(example.output)))
        self.lengths.append(len(text))

    def _removal(self, row: int, exact: int, near: int) -> Removal | None:
        if exact in self.exact:
            return Removal(row=row, reason="identical", of=self.exact[exact])
        self.exact[exact] = row
        if near in self.first:
            return Removal(row=row, reason="near", of=self.first[near])
        self.first[near] = row
        return None

    def conflicts(self, file: str) -> list[Notice]:
        """The rows that stay and whose text, folded, stands there with another output too."""
        first: dict[int, str] = {}
        other: dict[int, str] = {}
        for fold, output in zip(self.folds, self.outputs, strict=True):
            if first.setdefault(fold, output) != output:
                other.setdefault(fold, output)
        rows = [row for fold, row in zip(self.folds, self.rows, strict=True) if fold in other]
        if not rows:
            return []
        fold, said = next(iter(other.items()))
        text = self.texts[self.folds.index(fold)]
        sentence = (
            f"'{file}' gives {len(other):,} {'text' if len(other) == 1 else 'texts'} different outputs,"
            f" such as '{shorten(first[fold])}' and '{shorten(said)}' for '{shorten(text)}'"
            f" ({name_rows(rows)}); all were kept."
        )
        fix = "Decide on one output for each text."
        return [Notice.of(rows, "warning", "conflict", sentence, file=file, fix=fix)]


def _mark(output: str) -> str:
    """What tells an output from any other: itself, or for a long one its beginning and its hash."""
    return output if len(output) <= LONGEST_OUTPUT else f"{output[:LONGEST_OUTPUT]}… {hash(output):x}"


def _held_out(
    task: Task,
    counts: dict[str, dict[str, dict[str, int]]],
    progress: Progress,
    namer: personal.Namer | None,
) -> dict[int, tuple[str, int]]:
    """Hash of a folded text → the held-out file and row where it stands first; test comes before all."""
    texts: dict[int, tuple[str, int]] = {}
    for path in (task.data.test, task.data.validation):
        if path is None:
            continue
        file = name_in(task, path)
        found = counts.setdefault(file, {})
        shape, _ = shape_of(path, task.data.columns, file)
        progress("read", 0, 0, f"reading {file}")
        for _, _, read in scan(task, path, shape):
            if isinstance(read, Example):
                texts.setdefault(hash(folded(read.text)), (file, read.row))
                _count(found, read, task, namer)
    return texts


def _count(
    found: dict[str, dict[str, int]], example: Example, task: Task, namer: personal.Namer | None
) -> None:
    """Add the personal data of one row: rows that have a kind of it, and how many finds."""
    text = example.text if task.kind == "classify" else f"{example.text}\n{example.output}"
    kinds = [span.kind for span in personal.find_with_names(text, namer)]
    for kind in set(kinds):
        of_kind = found.setdefault(kind, {"rows": 0, "finds": 0})
        of_kind["rows"] += 1
        of_kind["finds"] += kinds.count(kind)


def _similar(seen: _Seen, file: str, *, suspects: bool, progress: Progress) -> list[Notice]:
    """Texts that are similar, and similar ones with different labels: told, never taken out."""
    partner: dict[int, int] = {}
    other: dict[int, int] = {}

    def worth(earlier: int, later: int) -> bool:
        if seen.plain[earlier] == seen.plain[later]:
            return False  # the same text: a conflict, told as one
        doubtful = suspects and seen.outputs[earlier] != seen.outputs[later]
        return later not in partner or (doubtful and later not in other)

    for earlier, later, _ in similar(seen.texts, worth=worth, progress=progress):
        partner.setdefault(later, earlier)
        if suspects and seen.outputs[earlier] != seen.outputs[later]:
            other.setdefault(later, earlier)
    progress("similar", len(seen.texts), len(seen.texts), "done")
    return [
        *_pairs(seen, partner, file, "similar", "much like an earlier row, which alone removes nothing"),
        *_pairs(seen, other, file, "label_suspect", "much like an earlier row under another label"),
    ]


def _pairs(seen: _Seen, pairs: Mapping[int, int], file: str, code: str, what: str) -> list[Notice]:
    if not pairs:
        return []
    rows = [seen.rows[later] for later in pairs]
    earlier = seen.rows[next(iter(pairs.values()))]
    sentence = (
        f"{count_rows(rows)} of '{file}': {what} ({name_rows(rows)}; row {rows[0]} is like row {earlier})."
    )
    fix = "Look at both rows: one of the labels may be wrong." if code == "label_suspect" else ""
    severity: Literal["warning", "info"] = "warning" if fix else "info"
    return [Notice.of(rows, severity, code, sentence, file=file, fix=fix)]


def _outliers(seen: _Seen, file: str) -> list[Notice]:
    """Texts far longer or shorter than the others: told, never taken out."""
    import numpy as np

    if len(seen.rows) < OUTLIER_ROWS:
        return []
    logs = np.log(np.maximum(1, np.asarray(seen.lengths)))
    low, high = np.quantile(logs, (0.25, 0.75))
    reach = OUTLIER_FENCE * max(high - low, 0.1)
    far = np.flatnonzero((logs < low - reach) | (logs > high + reach))
    if not len(far):
        return []
    rows = [seen.rows[at] for at in far]
    example = seen.lengths[int(far[0])]
    sentence = (
        f"{count_rows(rows)} of '{file}': far longer or shorter than others ({name_rows(rows)};"
        f" row {rows[0]} has {example:,} characters, half of all {np.exp(low):.0f} to {np.exp(high):.0f})."
    )
    return [Notice.of(rows, "info", "length_outlier", sentence, file=file)]


def removal_notices(found: Survey) -> list[Notice]:
    """One notice for each reason for which rows would be, or were, taken out."""
    said: Mapping[Reason, str] = {
        "leak": "in a held-out file too, but for case, spacing and punctuation",
        "identical": "exact repeats of an earlier row",
        "near": "repeats of an earlier row but for case, spacing and punctuation",
    }
    notices = []
    for reason, what in said.items():
        removals = [removal for removal in found.removals.values() if removal.reason == reason]
        if removals:
            notices.append(_removal_notice(removals, what, found.file))
    return notices


def _removal_notice(removals: Sequence[Removal], what: str, file: str) -> Notice:
    rows = [removal.row for removal in removals]
    first = removals[0]
    twin = f"row {first.of} of '{first.file}'" if first.file else f"row {first.of}"
    sentence = f"{count_rows(rows)} of '{file}': {what} ({name_rows(rows)}; row {first.row} is {twin})."
    return Notice.of(
        rows, "warning", first.reason, sentence, file=file, fix="'smallworks data clean' takes them out."
    )
