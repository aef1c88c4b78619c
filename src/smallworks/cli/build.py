"""`smallworks build`: from a task folder to a measured table, a chosen bundle and a report."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from rich.markup import escape

import smallworks as sw
from smallworks.cli import talk
from smallworks.recipes.build import Options, dry_run, finished
from smallworks.recipes.sample import lay_out
from smallworks.starter import TASKS
from smallworks.types import Task


def build(  # the parameters are the command's options
    task: str,
    /,
    *,
    only: str = "",
    skip: str = "",
    base: str | None = None,
    embedder: str | None = None,
    reranker: str | None = None,
    out: Path | None = None,
    dry_run: bool = False,
    json: bool = False,
) -> None:
    """Measure every candidate for a task, choose one, freeze it, report.

    Running it again redoes only what changed; after an interruption it goes on where it stopped.

    Parameters
    ----------
    task
        The task's folder or task.toml, or a sample task's name (tickets).
    only
        Candidates to measure, comma-separated; patterns such as 'lm-*' work.
    skip
        Candidates to leave out, likewise.
    base
        Base language model: a folder, a GGUF file, or a hub id (default: the embedded starter).
    embedder
        Sentence-embedding model for 'fused': a folder or a hub id.
    reranker
        Cross-encoder that is tried on the passages of a task with documents: a folder or a hub id.
    out
        Where bundles and report go (default: the task's folder).
    dry_run
        Print the plan with estimated time and memory, and stop.
    json
        One JSON document on stdout.
    """
    loaded = _load(task)
    names = {"only": _names(only), "skip": _names(skip)}
    options = Options(**names, base=base, embedder=embedder, reranker=reranker, out=out)
    if dry_run:
        _plan(loaded, options, json)
        return
    table = finished(loaded, options)
    if table is not None:
        talk.remark("Nothing changed since the last build: this is its table.")
    else:
        _preview(loaded)
        with talk.progress() as progress:
            table = sw.build(loaded, options, progress=progress)
    if json:
        from smallworks.recipes.table import to_json

        talk.print_json(to_json(table))
        return
    from smallworks.cli.table import show

    show(table)


def _load(where: str) -> Task:
    """A sample task named by hand is laid out in the current folder, never built inside the package."""
    if where in TASKS and not Path(where).exists():
        return lay_out(where, Path(f"smallworks-{where}"))
    return sw.load_task(where)


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _preview(task: Task) -> None:
    """Five parsed rows and what the checks found, on stderr, before any minute is spent."""
    from smallworks import data

    splits = data.load(task)
    report = splits.report
    sizes = ", ".join(f"{count:,} {part}" for part, count in report.sizes.items())
    talk.remark(f"[bold]{escape(task.name)}[/bold] ({task.kind}): {sizes} rows")
    for example in data.preview(splits):
        talk.remark(f"  [dim]{_clip(example.text, 76)}[/dim] → {_clip(example.output, 40)}")
    for notice in report.notices:
        mark = {"error": "red", "warning": "yellow", "info": "dim"}[notice.severity]
        talk.remark(f"  [{mark}]{notice.severity}[/{mark}] {escape(notice.sentence)}")


def _plan(task: Task, options: Options, json: bool) -> None:
    """The dry run: every candidate with its estimate or the reason why it is skipped."""
    planned = dry_run(task, options)
    seconds = sum(p.seconds for p in planned)
    memory = max((p.memory_bytes for p in planned), default=0.0)
    if json:
        rows = [asdict(p) for p in planned]
        talk.print_json({"candidates": rows, "seconds": seconds, "memory_bytes": memory})
        return
    for p in planned:
        cost = p.skipped or f"about {p.seconds:5.0f} s, {p.memory_bytes / 1e6:5.0f} MB"
        talk.out.print(f"  {p.name:<14} {p.engine:<13} {escape(cost)}", highlight=False, soft_wrap=True)
    talk.out.print(f"\nabout {seconds:.0f} s in all, {memory / 1e6:.0f} MB at the peak", highlight=False)


def _clip(text: str, width: int) -> str:
    line = " ".join(text.split())
    return escape(line if len(line) <= width else line[: width - 1] + "…")
