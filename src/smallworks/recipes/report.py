"""The report of a build: one self-contained HTML file, the same bytes for the same table.

No script, no request to anywhere: a content policy in the page forbids both. Knows what stands where on the
page; the sentences, the picture and the evidence come from the modules beside it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup, escape

from smallworks import files
from smallworks.data import Splits
from smallworks.data.report import name_rows
from smallworks.evaluate.metrics import METRICS
from smallworks.recipes import answer_lines, curves, figures, mixes, picture, reliability
from smallworks.recipes.commands import commands, versions
from smallworks.recipes.evidence import Evidence, gather
from smallworks.recipes.finding import Finding
from smallworks.recipes.outlook import chosen_row, ladder, next_best, outlook
from smallworks.recipes.page import template
from smallworks.tune.options import Point
from smallworks.types import Row, Table, Targets, Task

TEMPLATE = "report.html.jinja"
SHOWN_CLASSES = 15
NAMED_ROWS = 20
LONGEST_REASON = 600
FIGURES = re.compile(r"^.* on [\d,]+ rows?( in [\d,]+ groups?)?: ")
"""How a verdict's reason begins: with what stands in the line of the table itself."""
WIDE, NARROW = (1040, 480), (388, 470)


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line of the table, as written: `cells` with their CSS class, and `said` below them."""

    name: str
    engine: str
    chosen: bool
    cells: tuple[tuple[str, str], ...]
    outcome: str
    reason: str
    said: tuple[str, ...]


Tunings = Mapping[str, Sequence[Point]]
"""The validations of each tuned candidate, by its name."""


def write_report(
    task: Task,
    splits: Splits,
    table: Table,
    path: Path,
    tunings: Tunings | None = None,
    found: Finding | None = None,
) -> None:
    """Write the page of a finished table; it appears whole or not at all."""
    files.write_text(path, render(task, splits, table, path.parent, tunings, found))


def render(
    task: Task,
    splits: Splits,
    table: Table,
    out: Path,
    tunings: Tunings | None = None,
    found: Finding | None = None,
) -> str:
    """The page as text. `out` is the folder of the build, for the commands; `found`: how passages are."""
    chosen = chosen_row(table)
    other = next_best(table, chosen) if chosen else None
    evidence = gather(task, splits, chosen)
    page = template(TEMPLATE, share=figures.share, percent=figures.percent, breakable=_breakable)
    return page.render(
        task=task,
        table=table,
        chosen=chosen,
        result=_result(table),
        tiles=_tiles(table, chosen) if chosen else (),
        asked=_asked(task.targets),
        metric_meaning=METRICS[table.metric].meaning if table.metric in METRICS else "",
        wide=Markup(picture.draw(table, task.targets, width=WIDE[0], height=WIDE[1])),
        narrow=Markup(picture.draw(table, task.targets, width=NARROW[0], height=NARROW[1])),
        cascades=[(one.name, Markup(mixes.draw(one)), mixes.said(one)) for one in mixes.of_table(table)],
        columns=_columns(table.metric),
        answers=answer_lines.lines(table),
        answer_heads=answer_lines.heads(table),
        searches=answer_lines.tried(found) if found else (),
        searched=str(found or ""),
        tunings=_tunings(tunings or {}),
        lines=[_line(row, row.name == table.chosen_name) for row in table.rows if row.metric],
        skipped=[(row, _clip(row.skipped or "not measured")) for row in table.rows if not row.metric],
        rungs=ladder(task, table),
        points=outlook(task, table),
        evidence=evidence,
        trust=_trust(evidence),
        shown_classes=SHOWN_CLASSES,
        data=splits.report,
        labels=splits.labels,
        notices=[(notice, _rows_beyond(notice.rows)) for notice in splits.report.notices],
        commands=commands(task, splits, table, out, other),
        versions=versions(),
        seconds=_seconds(table.seconds),
        total=figures.span(sum(table.seconds.values())),
        test_rows=len(splits.test),
        grouped=next((figures.grouped(r.metric) for r in table.rows if r.metric and r.metric.groups), ""),
    )


def _tunings(tunings: Tunings) -> list[tuple[str, Markup, str]]:
    """Name, picture and sentence of every tuning that was validated more than once."""
    return [
        (name, Markup(curves.draw(points)), curves.said(points))
        for name, points in tunings.items()
        if len(curves.deciding(points)) == len(points) > 1
    ]


def _breakable(label: str) -> Markup:
    """A label that may be broken after an underscore."""
    return Markup(str(escape(label)).replace("_", "_<wbr>"))


def _result(table: Table) -> tuple[str, str]:
    """What was chosen, and why, as one sentence in two parts."""
    if table.chosen_name is None:
        return "Nothing", f" was chosen. {table.why}"
    name = f"{table.chosen_name} "
    if table.why.startswith(name):
        return table.chosen_name, f" was chosen: it {table.why.removeprefix(name)}"
    return table.chosen_name, f" was chosen. {table.why}"


def _tiles(table: Table, chosen: Row) -> tuple[tuple[str, str, str], ...]:
    """The chosen candidate in five figures: name, figure with unit, the small print."""
    latency, metric = chosen.latency, chosen.metric
    p50 = f"p50 {figures.number(latency.p50)} ms" if latency else ""
    rate = f"{figures.number(latency.rows_per_second)} rows a second" if latency else ""
    interval = f"{figures.interval(metric)} on {metric.n:,} rows" if metric else ""
    return (
        (table.metric, figures.share(metric.value if metric else None), interval),
        ("p95 latency", _with(figures.number(latency.p95 if latency else None), "ms"), p50),
        (
            "peak memory",
            _with(figures.megabytes(chosen.peak_memory_bytes), "MB"),
            "of the process that answers",
        ),
        ("on disk", _with(figures.megabytes(chosen.disk_bytes), "MB"), "all that is needed to answer"),
        ("1,000 requests", figures.dollars(chosen.cost_per_1000), rate),
    )


def _trust(evidence: Evidence) -> tuple[Markup, str] | None:
    """The reliability picture and its sentence."""
    found = evidence.reliability
    return (Markup(reliability.draw(found)), reliability.said(found)) if found else None


def _with(figure: str, unit: str) -> str:
    return figure if figure == figures.NONE else f"{figure} {unit}"


def _asked(targets: Targets) -> tuple[str, ...]:
    wanted = (
        (targets.at_least, f"{targets.metric} of at least {targets.at_least}"),
        (targets.p95_ms, f"p95 latency within {targets.p95_ms} ms"),
        (targets.memory_mb, f"peak memory within {targets.memory_mb} MB"),
        (targets.cost_per_1000, f"at most ${targets.cost_per_1000} for 1,000 requests"),
    )
    return tuple(words for value, words in wanted if value is not None)


def _columns(metric: str) -> tuple[tuple[str, str], ...]:
    """Heads of the number columns with their units."""
    return (
        (metric, ""),
        ("95 % interval", ""),
        ("n", "rows"),
        ("p50", "ms"),
        ("p95", "ms"),
        ("speed", "rows/s"),
        ("disk", "MB"),
        ("memory", "peak MB"),
        ("cost", "$ / 1,000"),
        ("parity", "ids equal"),
        ("off by", "probability"),
    )


def _line(row: Row, chosen: bool) -> Line:
    assert row.metric is not None
    latency, parity = row.latency, row.parity
    cells = (
        (figures.share(row.metric.value), "value"),
        (figures.interval(row.metric), "interval"),
        (f"{row.metric.n:,}", ""),
        (figures.number(latency.p50 if latency else None), ""),
        (figures.number(latency.p95 if latency else None), ""),
        (figures.number(latency.rows_per_second if latency else None), ""),
        (figures.megabytes(row.disk_bytes), ""),
        (figures.megabytes(row.peak_memory_bytes), ""),
        (figures.money(row.cost_per_1000), ""),
        (f"{parity.ids_equal}/{parity.rows}" if parity else figures.NONE, _holds(row)),
        (figures.share(parity.worst) if parity else figures.NONE, _holds(row)),
    )
    engine, _, detail = row.engine.partition(": ")
    reason = row.verdict.reason if row.verdict else ""
    short = FIGURES.sub("", reason)
    return Line(
        name=row.name,
        engine=engine,
        chosen=chosen,
        cells=cells,
        outcome=row.verdict.outcome if row.verdict else "",
        reason=reason,
        said=tuple(part.rstrip(".") for part in (short, detail, *row.notes) if part),
    )


def _holds(row: Row) -> str:
    return "" if row.parity is None or row.parity.holds else "broken"


def _clip(reason: str) -> str:
    return reason if len(reason) <= LONGEST_REASON else reason[: LONGEST_REASON - 1] + "…"


def _rows_beyond(rows: Sequence[int]) -> str:
    """The row numbers, where the notice's own sentence cannot have named them all."""
    return name_rows(rows, NAMED_ROWS) if len(rows) > 5 else ""


def _seconds(seconds: Mapping[str, float]) -> list[tuple[str, str, Any]]:
    """Steps with their time and their share of the longest, in the order they ran."""
    most = max(seconds.values(), default=0.0) or 1.0
    return [(step, figures.span(taken), round(100 * taken / most, 1)) for step, taken in seconds.items()]
