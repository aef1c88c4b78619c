"""The main journey: check the data → make every candidate → measure → judge → choose → report.

Each step is keyed by the hash of what it reads, so a second run redoes only what changed, and one that
was interrupted goes on where it stopped. A candidate that fails stands on the table with the reason.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from smallworks import data, files, rag, settings
from smallworks.bundle import Bundle
from smallworks.bundle.store import hash_weights
from smallworks.engines.base import BaseModel, resolve, resolve_embedder, resolve_reranker
from smallworks.errors import DiskError, ModelError, SmallworksError, TaskError
from smallworks.evaluate import records
from smallworks.evaluate.compare import compare
from smallworks.evaluate.together import non_inferior_together
from smallworks.recipes import reading
from smallworks.recipes import table as tables
from smallworks.recipes.choose import MARGIN, choose, judge_together
from smallworks.recipes.finding import check_paths, find
from smallworks.recipes.flagship import make_flagship, recorded_row
from smallworks.recipes.measure import measure
from smallworks.recipes.plan import (
    CASCADES,
    QUANTIZATIONS,
    READS,
    REFERENCES,
    RETRIEVAL,
    SYNTHETIC,
    TUNED,
    Planned,
    plan,
    reasons,
    select,
    shown,
)
from smallworks.recipes.steps import VERSION, Steps
from smallworks.recipes.workshop import Workshop
from smallworks.seams import Progress, silent
from smallworks.types import Record, Row, Table, Task, Verdict

WORK = ".smallworks"
BUNDLES = "bundles"
REPORT = "report.html"


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the command line may say beyond the task file. Names may be patterns such as 'lm-*'."""

    only: tuple[str, ...] = ()
    skip: tuple[str, ...] = ()
    base: str | None = None
    embedder: str | None = None
    reranker: str | None = None
    out: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Survey:
    """What a build finds before it starts. Equal keys mean that nothing needs to be done."""

    out: Path
    base: BaseModel | None
    embedder: str | None
    reranker: str | None
    key: str


def survey(task: Task, options: Options) -> Survey:
    """Find the base and hash all that is read. Raises ModelError when the base is not to be had."""
    _keep_apart(task, _out(task, options))
    base = _find_base(task, options)
    embedder = options.embedder or task.build.embedder or settings.load().embedder
    reranker = options.reranker or task.build.reranker
    if reranker and not _searches(task):
        raise TaskError(
            f"The reranker '{reranker}' has no passages to put in order.", fix="Name [data] documents."
        )
    key = _key(task, options, base, embedder, reranker)
    return Survey(out=_out(task, options), base=base, embedder=embedder, reranker=reranker, key=key)


def _out(task: Task, options: Options) -> Path:
    return options.out or task.folder


def _keep_apart(task: Task, out: Path) -> None:
    """Raises TaskError where the next build would read what this one writes."""
    documents = task.data.documents
    if documents is not None and out.resolve().is_relative_to(documents.resolve()):
        raise TaskError(
            f"The output folder '{out}' lies below the [data] documents '{documents}': "
            "the next build would index it.",
            fix="Put the documents in a folder of their own, or name another one with --out.",
        )


def finished(task: Task, options: Options = Options()) -> Table | None:
    """The table of an earlier build that read exactly the same, or None."""
    found = survey(task, options)
    return tables.read_finished(found.out / WORK, found.key)


def build(task: Task, options: Options = Options(), *, progress: Progress = silent) -> Table:
    """Build a task. Raises UserError for what the user must mend before any candidate can be measured."""
    found = survey(task, options)
    earlier = tables.read_finished(found.out / WORK, found.key)
    if earlier is not None:
        return earlier
    with files.lock(found.out / WORK, "a build"):
        return _build(task, options, found, progress)


def _build(task: Task, options: Options, found: Survey, progress: Progress) -> Table:
    shop, planned = prepare(task, options, found, progress)
    found_rows = list[Row]()
    for one in planned:
        found_rows.append(_row(shop, one, found_rows))
    rows = judge_together(found_rows, task.targets)
    chosen, why = choose(rows, task.targets, lambda best, others: _against(shop, best, others))
    table = Table(
        task=task.name,
        metric=task.targets.metric,
        rows=rows,
        chosen=chosen.bundle if chosen else None,
        chosen_name=chosen.name if chosen else None,
        why=why,
        seconds=dict(shop.steps.seconds),
        report=found.out / REPORT,
    )
    _report(shop, table, found.out)
    if not any(row.failed for row in rows):
        tables.write_finished(found.out / WORK, found.key, table)
    return table


def prepare(
    task: Task, options: Options, found: Survey, progress: Progress
) -> tuple[Workshop, tuple[Planned, ...]]:
    """Read and check the data, and plan: the workshop with all that was found, and every candidate."""
    start = time.perf_counter()
    progress("data", 0, 0, "reading and checking")
    splits = data.load(task, progress)
    check_paths(task, splits)
    steps = Steps(found.out / WORK / "steps", progress)
    steps.seconds["data"] = time.perf_counter() - start
    progress("data", 1, 1, "done")
    embedder, problem = _find_embedder(found.embedder, options, searches=_searches(task))
    shop = Workshop(
        task=replace(task, labels=splits.labels),
        splits=splits,
        steps=steps,
        bundles=found.out / BUNDLES,
        progress=progress,
        base=found.base,
        embedder=embedder,
        reranker=resolve_reranker(found.reranker) if found.reranker else None,
    )
    planned = plan(
        task,
        splits,
        found.base,
        embedder=found.embedder if embedder else None,
        only=options.only,
        skip=options.skip,
    )
    return shop, tuple(_because(p, problem) for p in planned)


def dry_run(task: Task, options: Options = Options()) -> tuple[Planned, ...]:
    """The plan with its estimated time and memory; reads the data, computes nothing."""
    found = survey(task, options)
    embedder, problem = _find_embedder(found.embedder, options, searches=_searches(task), fetch=False)
    splits = data.load(task)
    check_paths(task, splits)
    planned = plan(
        task,
        splits,
        found.base,
        embedder=found.embedder if embedder else None,
        only=options.only,
        skip=options.skip,
    )
    return tuple(_because(p, problem) for p in planned)


def _find_base(task: Task, options: Options) -> BaseModel | None:
    """The base model, when a candidate that was asked for needs one."""
    names = select(options.only, options.skip)
    return resolve(options.base or task.build.base) if any(n.startswith("lm-") for n in names) else None


def _find_embedder(
    ref: str | None, options: Options, *, searches: bool, fetch: bool = True
) -> tuple[Path | None, str | None]:
    """The embedder's folder; one that was named and is not there is an error only if fused was asked for.

    `searches`: documents are searched with it too. Without `fetch` a hub id stands for itself.
    """
    if ref is None or not (searches or "fused" in select(options.only, options.skip)):
        return None, None
    if not fetch and ref.count("/") == 1 and not Path(ref).exists():
        return Path(ref), None
    try:
        return resolve_embedder(ref), None
    except ModelError as error:
        if options.embedder or searches or "fused" in options.only:
            raise
        return None, str(error)


def _searches(task: Task) -> bool:
    return task.data.documents is not None


def _encoder_key(ref: str | None) -> str | None:
    """The hash of a local model's files; a hub id is its own key."""
    path = Path(ref).expanduser() if ref else None
    return hash_weights(path) if path and path.is_dir() else ref


def _because(planned: Planned, embedder_problem: str | None) -> Planned:
    if planned.name == "fused" and embedder_problem:
        return replace(planned, skipped=embedder_problem)
    return planned


def _row(shop: Workshop, planned: Planned, before: Sequence[Row]) -> Row:
    """One row of the table; a failure of this candidate alone is its reason, not the end of the build.

    `before` are the rows that stand already: cascades are made of those.
    """
    if planned.skipped:
        return _skipped(planned, planned.skipped)
    try:
        flagship = shop.task.flagship
        if planned.name in CASCADES:
            from smallworks.recipes.handover import cascade_row

            return cascade_row(shop, planned.name, before)
        if planned.name == "flagship" and flagship and flagship.answers:
            return recorded_row(shop, flagship)
        return measure(shop, make(shop, planned.name), planned.family)
    except DiskError:
        raise  # every other candidate would meet it too, and the table would look finished
    except SmallworksError as error:
        return replace(_skipped(planned, str(error)), failed=True)


def make(shop: Workshop, name: str) -> Bundle:
    """The frozen bundle of a candidate, by name."""
    if name.endswith(READS):
        return reading.make_reading(shop, name.removesuffix(READS), make)
    if name == RETRIEVAL:
        return reading.make_retrieval(shop)
    if name.endswith(SYNTHETIC):
        return make(replace(shop, taught=True), name.removesuffix(SYNTHETIC))
    if name in ("majority", "linear", "fused"):
        from smallworks.recipes.baselines import make_baseline

        return make_baseline(shop, name)  # type: ignore[arg-type]
    if name == "flagship":
        assert shop.task.flagship is not None
        return make_flagship(shop, shop.task.flagship)
    from smallworks.recipes import language

    reference = next(r for r in sorted(REFERENCES, key=len, reverse=True) if name.startswith(r))
    quantization = name.removeprefix(reference).removeprefix("-")
    if quantization in QUANTIZATIONS:
        return language.make_quantized(shop, reference, quantization)  # type: ignore[arg-type]
    return language.make_reference(shop, reference)  # type: ignore[arg-type]


def _skipped(planned: Planned, reason: str) -> Row:
    return Row(name=planned.name, kind=planned.family, engine=planned.engine, skipped=reason)


def _against(shop: Workshop, best: Row, others: Sequence[Row]) -> tuple[Verdict, ...]:
    task = shop.task

    def done(row: Row) -> list[Record]:
        assert row.records
        return records.read(row.records)

    known = done(best)
    comparisons = [compare(known, done(row), task.targets.metric, kind=task.kind) for row in others]
    return non_inferior_together(comparisons, MARGIN, a=best.name, names=[row.name for row in others])


def _report(shop: Workshop, table: Table, out: Path) -> None:
    from smallworks.recipes.report import write_report
    from smallworks.recipes.tuning import dials_of, tuned

    shop.progress("report", 0, 0, "")
    done = [row.name for row in table.rows if row.name in TUNED and row.metric]
    tunings = {name: tuned(shop, dials_of(shop, name)).curve for name in done}  # type: ignore[arg-type]
    searched = any(row.metric and row.engine == RETRIEVAL for row in table.rows)
    found = find(shop) if searched else None
    write_report(shop.task, shop.splits, table, out / REPORT, tunings, found)
    shop.progress("report", 1, 1, "done")


def _key(
    task: Task, options: Options, base: BaseModel | None, embedder: str | None, reranker: str | None
) -> str:
    """Hash of everything that a build reads; equal keys mean that nothing needs to be done."""
    answers = task.flagship.answers if task.flagship else None
    names = select(options.only, options.skip)
    return files.hash_value(
        {
            "version": VERSION,
            "task": asdict(task),
            "data": data.fingerprint(task),
            "documents": rag.fingerprint(task.data.documents) if task.data.documents else None,
            "synthetic": files.hash_file(task.data.synthetic) if task.data.synthetic else None,
            "names": shown(options.only, options.skip),
            "base": asdict(base.pin) if base else None,
            "embedder": _encoder_key(embedder),
            "reranker": _encoder_key(reranker),
            "reasons": reasons(names, task, base, embedder),
            "folder": str(_out(task, options).absolute()),
            "answers": files.hash_file(answers) if answers and answers.is_file() else None,
        }
    )
