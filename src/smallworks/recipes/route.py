"""Make a cascade of bundles that a user has: measure each on fresh rows, choose thresholds, freeze.

What is promised rests on the rows alone, so that they must be rows that no stage was fitted on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

from smallworks import taskfile
from smallworks.bundle import Bundle, open_bundle
from smallworks.bundle.golden import read as read_golden
from smallworks.bundle.manifest import Sureness
from smallworks.data.report import Notice
from smallworks.errors import DataError, UserError
from smallworks.recipes import examine
from smallworks.recipes.cascade import (
    GOLDEN_ROWS,
    NEVER,
    Plan,
    check_stages,
    freeze_cascade,
    is_remote,
    names_of,
    plan_of,
    promise_of,
)
from smallworks.recipes.flagship import price
from smallworks.recipes.ways import Way, best_way, score_of, steps_of, ways
from smallworks.route import Limits, Promise, Routing
from smallworks.route.sure import fitting
from smallworks.seams import Progress, silent
from smallworks.types import BuildOptions, Example, Record, Task

WORK = ".smallworks"
NO_LIMITS = Limits()


@dataclass(frozen=True, kw_only=True)
class Routed:
    """The choice, and the bundle that was frozen; None where nothing is promised, or one stage is enough.

    `notes` say what tells how sure the stages are, where that is not the probability of a label.
    """

    routing: Routing
    bundle: Bundle | None
    why: str
    notices: tuple[Notice, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One stage on the rows: its records, and what a request costs it in dollars and milliseconds."""

    records: tuple[Record, ...]
    cost: float
    ms: float


def calibrate_bundles(
    wheres: Sequence[Path],
    rows: Path,
    promise: Promise,
    *,
    costs: Sequence[float] = (),
    limits: Limits = NO_LIMITS,
    gate: bool = False,
    out: Path | None = None,
    progress: Progress = silent,
) -> Routed:
    """Stages in the order given, cheap to dear. `costs` are dollars per 1,000 requests, one a stage.

    `gate`: try one in front that knows the input alone, and keep it where it lowers the cost.
    Raises UserError for what makes no cascade, DataError for rows that a stage was fitted on.
    """
    if len(wheres) < 2:
        raise UserError(
            f"A cascade takes two bundles or more; {len(wheres)} came.", fix="Name them, the cheapest first."
        )
    if costs and len(costs) != len(wheres):
        raise UserError(
            f"--costs names {len(costs)} for {len(wheres)} bundles.",
            fix="Give dollars per 1,000 requests of each, in their order: --costs 0.001,0.3",
        )
    stages = _opened(wheres)
    task, examples, notices = examine.labelled_rows(stages[0], rows)
    _check_unseen(stages, examples, rows)
    if not costs:
        _check_prices(stages, rows)
    with TemporaryDirectory(prefix="smallworks-") as scratch:
        measured = [
            _measure(bundle, rows, Path(scratch) / f"{number}.jsonl", progress)
            for number, bundle in enumerate(stages)
        ]
    found, way = best_way(
        ways(
            [one.records for one in measured],
            names_of(stages),
            [cost / 1000 for cost in costs] or [one.cost for one in measured],
            [one.ms for one in measured],
            score=score_of(task.kind, task.targets),
            fitted=fitting(measured[0].records),
            texts=[example.text for example in examples] if gate else (),
        ),
        promise,
        limits=limits,
    )
    bundle, why = _freeze(stages, way, found, task, examples, out or stages[-1].path.parent, progress)
    return Routed(routing=found, bundle=bundle, why=why, notices=notices, notes=way.notes)


def agree_bundles(
    wheres: Sequence[Path], *, at: float = 1.0, out: Path | None = None, progress: Progress = silent
) -> Bundle:
    """Two cheap bundles and the one that answers where these do not agree: takes no labelled rows.

    It promises nothing. `at` is from which share of common words two texts agree. Raises UserError.
    """
    if len(wheres) != 3:
        raise UserError(
            f"Two bundles that must agree and one behind them make three; {len(wheres)} came.",
            fix="Name two cheap bundles and the one that answers where they disagree.",
        )
    if not 0 < at <= 1:
        raise UserError(f"--agreement {at:g} is not above 0 and up to 1.", fix="Write 1 for the same answer.")
    stages = _opened(wheres)
    first, second, last = names_of(stages)
    into = out or stages[-1].path.parent
    progress("freeze", 0, 0, "")
    bundle = freeze_cascade(
        Plan(stages=stages, thresholds=(1.0, at), sureness=(NEVER, Sureness(signal="agreement"))),
        candidate="cascade",
        into=into,
        scratch=into / WORK / f"cascade-{uuid4().hex}",
        golden=[dict(row.inputs) for row in read_golden(stages[0].path)[:GOLDEN_ROWS]],
        lineage={"promise": f"none: {last} answers where {first} and {second} do not agree"},
    )
    progress("freeze", 1, 1, "done")
    return bundle


def _opened(wheres: Sequence[Path]) -> tuple[Bundle, ...]:
    stages = tuple(open_bundle(where) for where in wheres)
    check_stages(stages)
    return stages


def _freeze(
    stages: Sequence[Bundle],
    way: Way,
    found: Routing,
    task: Task,
    examples: Sequence[Example],
    out: Path,
    progress: Progress,
) -> tuple[Bundle | None, str]:
    if found.chosen is None:
        return None, found.why
    plan = plan_of(steps_of(way, stages), found.chosen, way.sureness, way.gate)
    if plan is None:
        alone = next(
            name for name, share in zip(found.stages, found.chosen.shares, strict=True) if share == 1
        )
        return None, f"{found.why} That is {alone} alone: no cascade is needed."
    progress("freeze", 0, 0, "")
    bundle = freeze_cascade(
        plan,
        candidate="cascade",
        into=out,
        scratch=out / WORK / f"cascade-{uuid4().hex}",
        golden=[dict(example.inputs) for example in examples[:GOLDEN_ROWS]],
        lineage=promise_of(found, found.chosen),
    )
    progress("freeze", 1, 1, "done")
    return bundle, found.why


def _measure(bundle: Bundle, rows: Path, kept: Path, progress: Progress) -> Measured:
    def relay(_: str, done: float, total: float, note: str) -> None:
        progress(bundle.manifest.candidate, done, total, note)

    seen = examine.evaluate(bundle, rows, out=kept, signals=True, progress=relay)
    progress(bundle.manifest.candidate, 1, 1, "done")
    ms = seen.scorecard["latency"]["p50"]
    cost = ms / 3.6e6 * BuildOptions.machine_price_per_hour
    flagship = (
        _task_at_hand(bundle, rows).flagship if is_remote(bundle) and _task_file(bundle, rows) else None
    )
    if flagship:
        cost = price(flagship, seen.scorecard["tokens_in"], seen.scorecard["tokens_out"])
    return Measured(records=seen.records, cost=cost, ms=ms)


def _check_prices(stages: Sequence[Bundle], rows: Path) -> None:
    """Raises UserError, before anything is asked, where a paid stage has no price."""
    for bundle in stages:
        if is_remote(bundle) and not (
            _task_file(bundle, rows) and _task_at_hand(bundle, rows).flagship is not None
        ):
            raise UserError(
                f"Nothing says what the server behind '{bundle.name}' costs.",
                fix="Give dollars per 1,000 requests of each bundle: --costs 0.001,0.3",
            )


def _task_file(bundle: Bundle, rows: Path) -> Path | None:
    """The task file of the rows' folder, or of the bundle's own."""
    folders = (rows, bundle.path.resolve().parent.parent)
    return next((f / taskfile.FILE_NAME for f in folders if (f / taskfile.FILE_NAME).is_file()), None)


def _task_at_hand(bundle: Bundle, rows: Path) -> Task:
    found = _task_file(bundle, rows)
    assert found is not None
    return taskfile.load_task(found)


def _check_unseen(stages: Sequence[Bundle], examples: Sequence[Example], rows: Path) -> None:
    """A stage's golden rows are of those that it was fitted on: many of them here means that it knows the
    answers."""
    texts = {example.text for example in examples}
    for bundle in stages:
        golden = read_golden(bundle.path)
        known = sum(Example(id=examples[0].id, inputs=g.inputs, output="").text in texts for g in golden)
        if known > len(golden) / 4 and bundle.manifest.engine != "cascade":
            raise DataError(
                f"'{rows}' holds {known} of the {len(golden)} golden rows of '{bundle.name}', which it was "
                "fitted on: it would seem surer and better than it is.",
                fix="Give labelled rows that no stage was built on.",
            )
