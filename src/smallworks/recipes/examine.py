"""Look at frozen bundles again: measure one, compare two, verify one. Knows nothing of their making."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from smallworks import child, data, taskfile
from smallworks.bundle import Bundle, open_bundle
from smallworks.data.read import read_rows
from smallworks.engines.opening import open_bundle as open_predictor
from smallworks.errors import DataError, TaskError
from smallworks.evaluate import records
from smallworks.evaluate.abstention import Abstention, abstention
from smallworks.evaluate.calibration import Reliability, reliability
from smallworks.evaluate.compare import compare as compare_records
from smallworks.evaluate.metrics import kind_of
from smallworks.evaluate.replay import replay
from smallworks.evaluate.worker import write_examples
from smallworks.recipes.cascade import mark_of, scope_of
from smallworks.seams import Progress, silent
from smallworks.types import (
    REFUSAL,
    Columns,
    Comparison,
    DataFiles,
    Example,
    Kind,
    Parity,
    Record,
    Targets,
    Task,
)


@dataclass(frozen=True, kw_only=True)
class Examination:
    """`scorecard` as JSON (metrics with intervals, latency, memory), and one record a row.

    `calibration` is None where the answers have no probabilities, `abstention` for other kinds than `answer`.
    """

    bundle: Bundle
    scorecard: Mapping[str, Any]
    parity: Mapping[str, Any] | None
    records: tuple[Record, ...]
    calibration: Reliability | None
    abstention: Abstention | None = None
    notices: tuple[data.Notice, ...] = ()


def evaluate(
    bundle: Bundle,
    rows: Path | None,
    *,
    out: Path | None = None,
    signals: bool = False,
    progress: Progress = silent,
) -> Examination:
    """Measure a bundle on a data file, a task folder's test set, or the test set of its own task.

    With `signals` records tell how sure what was written is, as a stage of a cascade is asked.
    """
    task, examples, notices = labelled_rows(bundle, rows)
    with TemporaryDirectory(prefix="smallworks-") as scratch:
        listed, outside = Path(scratch) / "rows.jsonl", Path(scratch) / "outside.jsonl"
        write_examples(listed, examples)
        write_examples(outside, outside_rows(bundle, rows))
        kept = out or Path(scratch) / "records.jsonl"
        result = child.run(
            "smallworks.evaluate.worker",
            {
                "bundle": bundle.path,
                "rows": listed,
                "labels": labels_of(bundle),
                "schema": bundle.manifest.prompt.schema or task.schema,
                "refusal": task.refusal,
                "documents": task.data.documents is not None,
                "outside": outside,
                "records": kept,
                "signals": signals,
            },
            progress=progress,
        )
        done = tuple(records.read(kept))
    return Examination(
        bundle=bundle,
        scorecard=result["scorecard"],
        parity=result["parity"],
        records=done,
        calibration=reliability(done),
        abstention=abstention(done),
        notices=notices,
    )


def compare(
    a: Path, b: Path, rows: Path | None, *, metric: str | None = None, progress: Progress = silent
) -> Comparison:
    """B against A on the same rows; each is a bundle folder or a records file of an earlier evaluation."""
    kind, targets = asked(a, b, rows=rows)
    done_a, done_b = (records_of(path, rows, progress=progress) for path in (a, b))
    return compare_records(done_a, done_b, metric or targets.metric, kind=kind)


def verify(where: Path) -> tuple[Bundle, Parity | None]:
    """Check every checksum, then replay the golden rows on the bundle's engine."""
    bundle = open_bundle(where)
    with open_predictor(bundle) as predictor:
        return bundle, replay(bundle, predictor)


def labelled_rows(
    bundle: Bundle, rows: Path | None
) -> tuple[Task, tuple[Example, ...], tuple[data.Notice, ...]]:
    """The rows in scope to measure on.

    Raises DataError when none are named and the bundle's task is not beside it.
    """
    if rows is None:
        home = _home(bundle)
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


def outside_rows(bundle: Bundle, rows: Path | None) -> tuple[Example, ...]:
    """The rows out of scope of what `labelled_rows` takes its rows from; none where a bundle has no scope."""
    if scope_of(bundle) is None:
        return ()
    rows = rows or _home(bundle)
    if rows.is_dir() or rows.suffix == ".toml":
        return data.load(taskfile.load_task(rows)).outside_test
    return data.read_outside(_task_of(bundle, rows), rows)


def _task_beside(bundle: Bundle) -> Task | None:
    """The task that built it, if it still lies beside it; its documents may be gone. Raises TaskError."""
    home = _home(bundle)
    if not (home / taskfile.FILE_NAME).is_file():
        return None
    task = taskfile.load_task(home, documents=False)
    return task if (task.name, task.kind) == (bundle.manifest.task, bundle.manifest.kind) else None


def labels_of(bundle: Bundle) -> tuple[str, ...]:
    choices = bundle.manifest.prompt.choices
    return choices.labels if choices else ()


def _home(bundle: Bundle) -> Path:
    """The folder of the task that built it, unless the bundle was moved."""
    return bundle.path.resolve().parent.parent


def _task_of(bundle: Bundle, rows: Path) -> Task:
    """The task that a bundle was made for, as far as reading rows needs it; one that is broken is no help."""
    manifest = bundle.manifest
    try:
        beside = _task_beside(bundle)
    except TaskError:
        beside = None
    known = beside.data if beside else DataFiles(train=rows)
    found = manifest.retrieval
    return Task(
        name=manifest.task,
        kind=manifest.kind,
        instruction=manifest.prompt.instruction,
        folder=rows.parent,
        data=DataFiles(
            train=rows,
            columns=_columns(manifest.columns, rows),
            out_of_scope=mark_of(bundle) or known.out_of_scope,
            documents=known.documents,
        ),
        targets=Targets(metric=taskfile.METRICS[manifest.kind][0]),
        labels=labels_of(bundle),
        schema=manifest.prompt.schema,
        refusal=found.refusal if found else beside.refusal if beside else REFUSAL,
    )


def _columns(named: Columns, rows: Path) -> Columns:
    """The task's columns, as far as new rows must have them: groups count where the file names them."""
    _, first = next(iter(read_rows(rows)), (0, {}))
    kept = {key: name for key in ("group", "document") if (name := getattr(named, key)) in first}
    return replace(named, id=None, tags=None, **{"group": None, "document": None, **kept})


def asked(*paths: Path, rows: Path | None) -> tuple[Kind, Targets]:
    """What is asked of bundles or records files: the targets of the task at hand, else the kind's metric.

    Raises DataError where `rows` are named and nothing would be measured on them.
    """
    bundle = next((open_bundle(path) for path in paths if not path.is_file()), None)
    if bundle is None:
        if rows is not None:
            raise DataError(
                f"'{paths[0]}' is a records file: nothing would be measured on '{rows}'.",
                fix="Give a bundle, or leave the rows out.",
            )
        kind = kind_of(records.first(paths[0]))
        return kind, Targets(metric=taskfile.METRICS[kind][0])
    kind = bundle.manifest.kind
    named = rows is not None and (rows / taskfile.FILE_NAME).is_file()
    task = taskfile.load_task(rows) if rows and named else _task_beside(bundle)
    return kind, task.targets if task else Targets(metric=taskfile.METRICS[kind][0])


def records_of(path: Path, rows: Path | None, *, progress: Progress = silent) -> tuple[Record, ...]:
    """The records of a file, or those of measuring a bundle on `rows` (see `evaluate`)."""
    if path.is_file():
        return tuple(records.read(path))
    return evaluate(open_bundle(path), rows, progress=progress).records
