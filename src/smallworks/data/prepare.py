"""From a task's files to checked splits: read, check, remove what must not be trained on, split.

Knows nothing of models; what it removed and why stands in the report.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from smallworks.data import checks, classes, scope
from smallworks.data.marks import marked
from smallworks.data.report import DataReport, Notice, worst_first
from smallworks.data.shapes import Problem, Shape, with_ids
from smallworks.data.source import files_of, name_in, no_usable_row, scan, shape_of
from smallworks.data.split import Part, split, split_groups
from smallworks.data.survey import Survey, removal_notices, survey
from smallworks.data.synthetic import read_synthetic
from smallworks.errors import DataError
from smallworks.files import hash_file, hash_value
from smallworks.seams import Progress, silent
from smallworks.text.personal import Namer
from smallworks.types import Example, Task

LEAKS: tuple[tuple[Part, Part], ...] = (("validation", "test"), ("train", "test"), ("train", "validation"))
VERSION = 1  # of the reading and splitting rules; part of the fingerprint


@dataclass(frozen=True, kw_only=True)
class Splits:
    """A task's rows, ready to use. No text is in two parts; `labels` is empty except for classify.

    `fingerprint` names the files' bytes and everything else that decides which row lands where; it says
    nothing of the `synthetic` rows, which some candidates are trained on beside `train`. `outside` are rows
    out of scope to choose a threshold by, `outside_test` those to measure it on; no other part has any.
    """

    train: tuple[Example, ...]
    validation: tuple[Example, ...]
    test: tuple[Example, ...]
    labels: tuple[str, ...]
    report: DataReport
    fingerprint: str
    synthetic: tuple[Example, ...] = ()
    outside: tuple[Example, ...] = ()
    outside_test: tuple[Example, ...] = ()


def load(task: Task, progress: Progress = silent) -> Splits:
    """The task's rows as checked splits.

    Raises DataError for a file that does not parse, a column that is not there, and for the first error
    that the checks find; MissingExtra for Parquet without pyarrow.
    """
    splits = _prepare(task, progress)
    errors = splits.report.errors
    if errors:
        more = f" Further errors: {len(errors) - 1}." if len(errors) > 1 else ""
        raise DataError(errors[0].sentence, fix=errors[0].fix + more)
    return splits


def read_examples(task: Task, path: Path) -> tuple[tuple[Example, ...], tuple[Notice, ...]]:
    """The rows of one labelled file, read as the task's own, and what was seen in them.

    Rows without an input or an output are left out, and told, and those out of scope (`read_outside`);
    nothing else is removed. Raises DataError for the first error that the checks find.
    """
    shape, every, notices = _read(task, path)
    examples, _ = scope.apart(task, every)
    _, found = _look_at(task, examples, path.name, trained_on=False)
    notices = [*notices, *found]
    error = next((n for n in notices if n.severity == "error"), None)
    if error:
        raise DataError(error.sentence, fix=error.fix)
    read_as = Notice(severity="info", code="columns", sentence=f"'{path.name}' was read as {shape}.")
    return examples, (read_as, *worst_first(notices))


def read_outside(task: Task, path: Path) -> tuple[Example, ...]:
    """The rows of one labelled file that are marked as out of scope."""
    return scope.apart(task, _read(task, path)[1])[1] if task.data.out_of_scope else ()


def check(task: Task, progress: Progress = silent) -> DataReport:
    """Only the report: errors that would stop a build are notices here, unless a file cannot be read."""
    return _prepare(task, progress, by_marks=True).report


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """`report` is what a build would find, with what a closer look adds; `survey` is that look."""

    report: DataReport
    survey: Survey


def inspect(task: Task, progress: Progress = silent, *, namer: Namer | None = None) -> Inspection:
    """The report with near duplicates, similar and doubtful rows, outliers, languages of the training file.

    Raises DataError only for a file that cannot be read.
    """
    report = check(task, progress)
    found = survey(task, progress, closer=True, namer=namer)
    closer = {"duplicate", "leak", "conflict"}
    kept = [n for n in report.notices if not (n.code in closer and n.file == found.file)]
    notices = worst_first([*kept, *removal_notices(found), *found.notices])
    return Inspection(report=replace(report, notices=notices), survey=found)


def preview(splits: Splits, n: int = 5) -> tuple[Example, ...]:
    """The first `n` training rows as they were understood."""
    return splits.train[:n]


def fingerprint(task: Task) -> str:
    """Hex digest of the files' bytes and of all that decides how their rows are read and split."""
    data = task.data
    files = {role: hash_file(path) for role, path in files_of(task).items()}
    columns = [data.columns.input, data.columns.output, data.columns.id, data.columns.tags]
    columns += [name for name in (data.columns.group, data.columns.document) if name]
    read = [VERSION, files, columns, task.kind, task.labels, task.schema, task.instruction, task.build.seed]
    return hash_value([*read, *([data.out_of_scope] if data.out_of_scope else [])])


def _prepare(task: Task, progress: Progress, *, by_marks: bool = False) -> Splits:
    """The splits and the report on them; `by_marks` for the report alone: texts are then not held."""
    files = files_of(task)
    names = {part: name_in(task, path) for part, path in files.items()}
    notices: list[Notice] = []
    columns: dict[str, str] = {}
    rows: dict[Part, Sequence[Example]] = {}
    outside: dict[Part, Sequence[Example]] = {}
    for done, (part, path) in enumerate(files.items()):
        name = names[part]
        progress("data", done, len(files), f"reading {name}")
        shape, every, found = _read(task, path, by_marks=by_marks)
        rows[part], outside[part] = scope.apart(task, every)
        columns[name] = str(shape)
        notices += found
        rows[part], found = _look_at(task, rows[part], name, trained_on=part == "train")
        notices += found
    rows, found = _remove_leaks(rows, names)
    notices += found
    if task.kind == "classify":
        notices += classes.training_classes(rows["train"], task.labels, names["train"])
    rows, found = _complete(task, rows, names)
    notices += found
    notices += _look_at_parts(task, rows, names)
    chosen_by, measured_on = scope.outside_parts(task, outside)
    notices += scope.set_aside(task, chosen_by, measured_on)
    labels = _labels(task, rows)
    synthetic: tuple[Example, ...] = ()
    if task.data.synthetic:
        synthetic, found = read_synthetic(task, task.data.synthetic, rows, labels)
        notices += found
    progress("data", len(files), len(files), f"{sum(map(len, rows.values()))} rows")
    report = DataReport(
        notices=worst_first(notices),
        sizes={part: len(examples) for part, examples in rows.items()} | _size_of(synthetic),
        classes=Counter(example.output for example in rows["train"]) if task.kind == "classify" else {},
        columns=columns,
    )
    return Splits(
        train=tuple(rows["train"]),
        validation=tuple(rows["validation"]),
        test=tuple(rows["test"]),
        labels=labels,
        report=report,
        fingerprint=fingerprint(task),
        synthetic=synthetic,
        outside=chosen_by,
        outside_test=measured_on,
    )


def _size_of(synthetic: Sequence[Example]) -> dict[str, int]:
    return {"synthetic": len(synthetic)} if synthetic else {}


def _read(
    task: Task, path: Path, *, by_marks: bool = False
) -> tuple[Shape, tuple[Example, ...], list[Notice]]:
    shape, _ = shape_of(path, task.data.columns, name_in(task, path))
    problems: list[Problem] = []

    def usable() -> Iterator[Example]:
        for _, _, read in scan(task, path, shape):
            if isinstance(read, Problem):
                problems.append(read)
            else:
                yield read

    def held(example: Example) -> Example:
        keep = task.kind in ("classify", "extract")
        return marked(example, seed=task.build.seed, keep_output=keep) if by_marks else example

    examples = tuple(held(example) for example in with_ids(usable()))
    if not examples and not any(problem.what for problem in problems):
        raise no_usable_row(path, shape)
    return shape, examples, checks.unusable(problems, name_in(task, path))


def _look_at(
    task: Task, examples: Sequence[Example], file: str, *, trained_on: bool
) -> tuple[Sequence[Example], list[Notice]]:
    """What can be said about one file alone, and its rows without repeated ones where it is trained on."""
    notices = checks.repeated_ids(examples, file)
    if task.schema is not None:
        notices += checks.schema_violations(examples, task.schema, file)
    if task.labels:
        notices += classes.unlisted_labels(examples, task.labels, file)
    if task.kind in ("classify", "extract"):
        notices += checks.conflicts(examples, file)
    kept, found = checks.duplicates(examples, file, remove=trained_on)
    return kept, notices + found


def _remove_leaks(
    rows: Mapping[Part, Sequence[Example]], names: Mapping[Part, str]
) -> tuple[dict[Part, Sequence[Example]], list[Notice]]:
    """Take rows of test out of validation and train, and rows of validation out of train; never back."""
    left: dict[Part, Sequence[Example]] = dict(rows)
    notices: list[Notice] = []
    for part, held_out in LEAKS:
        if part in left and held_out in left:
            left[part], found = checks.leaks(
                left[part], left[held_out], file=names[part], other=names[held_out]
            )
            notices += found
    return left, notices


def _complete(
    task: Task, rows: Mapping[Part, Sequence[Example]], names: Mapping[Part, str]
) -> tuple[dict[Part, Sequence[Example]], list[Notice]]:
    """All three parts: those without a file of their own are carved out of train.

    Whole groups are carved where rows have them. A text that two groups share may then be in two parts: it
    stays in the later one.
    """
    test, validation, seed = "test" not in rows, "validation" not in rows, task.build.seed
    if not task.data.columns.group:
        stratify = task.kind == "classify"
        carved = split(rows["train"], seed=seed, stratify=stratify, test=test, validation=validation)
        return _all_parts(rows, carved), []
    groups = [e.group or f"row {e.row}" for e in rows["train"]]
    carved = split_groups(rows["train"], groups, seed=seed, test=test, validation=validation)
    called: dict[Part, str] = {part: names.get(part, f"the {part} part") for part in carved}
    parts = _all_parts(rows, carved)
    notices = checks.shared_groups(parts, task.data.columns.group)
    parts, found = _remove_leaks(parts, called)
    return parts, notices + found


def _all_parts(
    rows: Mapping[Part, Sequence[Example]], carved: Mapping[Part, Sequence[Example]]
) -> dict[Part, Sequence[Example]]:
    return {part: carved[part] if part == "train" else rows.get(part, carved[part]) for part in carved}


def _look_at_parts(
    task: Task, rows: Mapping[Part, Sequence[Example]], names: Mapping[Part, str]
) -> list[Notice]:
    sizes: dict[str, int] = {part: len(examples) for part, examples in rows.items()}
    notices = checks.part_sizes(sizes, names["train"])
    if task.kind == "classify" and not task.labels:
        seen = _labels(task, rows)
        for part in ("validation", "test"):
            if part in names:
                notices += classes.unseen_labels(rows[part], seen, names[part])
    return notices


def _labels(task: Task, rows: Mapping[Part, Sequence[Example]]) -> tuple[str, ...]:
    if task.kind != "classify":
        return ()
    return task.labels or tuple(sorted({example.output for example in rows["train"]}))
