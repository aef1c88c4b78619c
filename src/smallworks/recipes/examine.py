"""Look at frozen bundles again: measure one, compare two, verify one. Knows nothing of their making."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from smallworks import child, data, taskfile
from smallworks.bundle import Bundle, open_bundle
from smallworks.engines.opening import open_bundle as open_predictor
from smallworks.errors import BundleError, DataError
from smallworks.evaluate import records
from smallworks.evaluate.compare import compare as compare_records
from smallworks.evaluate.worker import replay, write_examples
from smallworks.seams import Progress, silent
from smallworks.types import Comparison, DataFiles, Example, Parity, Record, Targets, Task


@dataclass(frozen=True, kw_only=True)
class Examination:
    """`scorecard` as JSON (metrics with intervals, latency, memory), and one record a row."""

    bundle: Bundle
    scorecard: Mapping[str, Any]
    parity: Mapping[str, Any] | None
    records: tuple[Record, ...]
    notices: tuple[data.Notice, ...] = ()


def evaluate(
    bundle: Bundle, rows: Path | None, *, out: Path | None = None, progress: Progress = silent
) -> Examination:
    """Measure a bundle on a data file, a task folder's test set, or the test set of its own task."""
    task, examples, notices = labelled_rows(bundle, rows)
    with TemporaryDirectory(prefix="smallworks-") as scratch:
        listed = Path(scratch) / "rows.jsonl"
        write_examples(listed, examples)
        kept = out or Path(scratch) / "records.jsonl"
        result = child.run(
            "smallworks.evaluate.worker",
            {
                "bundle": bundle.path,
                "rows": listed,
                "labels": labels_of(bundle),
                "schema": bundle.manifest.prompt.schema or task.schema,
                "records": kept,
            },
            progress=progress,
        )
        done = tuple(records.read(kept))
    return Examination(
        bundle=bundle, scorecard=result["scorecard"], parity=result["parity"], records=done, notices=notices
    )


def compare(
    a: Path, b: Path, rows: Path | None, *, metric: str | None = None, progress: Progress = silent
) -> Comparison:
    """B against A on the same rows; each is a bundle folder or a records file of an earlier evaluation."""
    kind, name = _kind_and_metric(a, b, rows)
    return compare_records(
        _records(a, rows, progress), _records(b, rows, progress), metric or name, kind=kind
    )


def verify(where: Path) -> tuple[Bundle, Parity | None]:
    """Check every checksum, then replay the golden rows on the bundle's engine."""
    bundle = open_bundle(where)
    with open_predictor(bundle) as predictor:
        return bundle, replay(bundle, predictor)


def labelled_rows(
    bundle: Bundle, rows: Path | None
) -> tuple[Task, tuple[Example, ...], tuple[data.Notice, ...]]:
    """The rows to measure on. Raises DataError when none are named and the bundle's task is not beside it."""
    if rows is None:
        home = bundle.path.resolve().parent.parent
        if not (home / taskfile.FILE_NAME).is_file():
            raise DataError(
                f"No rows were named, and '{home}' holds no {taskfile.FILE_NAME}.",
                fix="Give a task folder or a data file: smallworks evaluate BUNDLE ROWS",
            )
        rows = home
    if rows.is_dir() or rows.suffix == ".toml":
        task = taskfile.load_task(rows)
        return task, data.load(task).test, ()
    if not rows.is_file():
        raise DataError(f"No data file at '{rows}'.", fix="Check the path.")
    task = _task_of(bundle, rows)
    return task, *data.read_examples(task, rows)


def labels_of(bundle: Bundle) -> tuple[str, ...]:
    choices = bundle.manifest.prompt.choices
    return choices.labels if choices else ()


def _task_of(bundle: Bundle, rows: Path) -> Task:
    """The task that a bundle was made for, as far as reading rows needs it."""
    manifest = bundle.manifest
    return Task(
        name=manifest.task,
        kind=manifest.kind,
        instruction=manifest.prompt.instruction,
        folder=rows.parent,
        data=DataFiles(train=rows, columns=replace(manifest.columns, id=None, tags=None)),
        targets=Targets(metric=taskfile.METRICS[manifest.kind][0]),
        labels=labels_of(bundle),
        schema=manifest.prompt.schema,
    )


def _kind_and_metric(a: Path, b: Path, rows: Path | None) -> tuple[Any, str]:
    bundle = next((open_bundle(p) for p in (a, b) if p.is_dir()), None)
    if bundle is None:
        raise BundleError(
            f"Neither '{a}' nor '{b}' is a bundle folder.",
            fix="Give at least one bundle, so that its kind is known.",
        )
    home = rows if rows and rows.is_dir() else bundle.path.resolve().parent.parent
    if (home / taskfile.FILE_NAME).is_file():
        return bundle.manifest.kind, taskfile.load_task(home).targets.metric
    return bundle.manifest.kind, taskfile.METRICS[bundle.manifest.kind][0]


def _records(path: Path, rows: Path | None, progress: Progress) -> tuple[Record, ...]:
    if path.is_file():
        return tuple(records.read(path))
    return evaluate(open_bundle(path), rows, progress=progress).records
