"""The table of candidates on a terminal. Knows how to show rows, not how they came about."""

from __future__ import annotations

from rich.markup import escape
from rich.table import Table as Grid
from rich.text import Text

from smallworks.cli.talk import out, remark, say
from smallworks.recipes import figures
from smallworks.types import LOSS, RECALL, Estimate, Row, Table

WIDE = 112
COSTS = ("p50 ms", "p95 ms", "disk MB", "memory MB", "$ / 1,000", "parity")
COLOURS = {"pass": "green", "fail": "red", "inconclusive": "yellow"}


def show(table: Table) -> None:
    """The measured candidates, then the skipped ones with their reasons, then the choice.

    Where nothing passes, the best that was measured has a mark of its own, and nobody is told to serve it.
    """
    wide, passes = out.width >= WIDE, _passes(table)
    grid = Grid(box=None, pad_edge=False, header_style="bold", expand=False)
    grid.add_column("candidate", no_wrap=True)
    grid.add_column(table.metric, justify="right", no_wrap=True)
    grid.add_column("95 % interval", justify="right", no_wrap=True)
    for name in COSTS if wide else COSTS[:2]:
        grid.add_column(name, justify="right", no_wrap=True)
    grid.add_column("verdict", no_wrap=True)
    for row in table.rows:
        if row.metric:
            mark = ("● " if passes else "○ ") if row.name == table.chosen_name else "  "
            cells = _cells(row, mark)
            grid.add_row(*(cells if wide else cells[:5] + cells[-1:]))
    out.print(grid)
    _show_scope(table)
    grouped = next((row.metric for row in table.rows if row.metric and row.metric.groups), None)
    if grouped:
        say(f"\n{figures.grouped(grouped)}", style="dim")
    skipped = [row for row in table.rows if row.skipped]
    if skipped:
        out.print("\nnot measured here", style="bold")
        for row in skipped:
            say(f"  {row.name}: {row.skipped}", style="dim")
    say(f"\n{'chosen' if passes else '○ best'}  {table.why}" if table.chosen_name else f"\n{table.why}")
    for name, path in (("bundle", table.chosen), ("report", table.report)):
        if path:
            say(f"{name}  {path}")
    if table.chosen and passes:
        remark(f"[dim]next    smallworks serve {escape(str(table.chosen))}[/dim]")


def _show_scope(table: Table) -> None:
    """What is handed over as out of scope, rightly and wrongly, where candidates tell; else nothing."""
    rows = [row for row in table.rows if LOSS in row.metrics]
    if not rows:
        return
    grid = Grid(box=None, pad_edge=False, header_style="bold", expand=False)
    for name in ("handed over", "of rows out of scope", "95 % interval", "of rows in scope", "95 % interval"):
        grid.add_column(name, justify="left" if name == "handed over" else "right", no_wrap=True)
    for row in rows:
        cells = [_share(row.metrics.get(name)) for name in (RECALL, LOSS)]
        grid.add_row(Text(f"  {row.name}"), *cells[0], *cells[1])
    out.print()
    out.print(grid)


def _share(one: Estimate | None) -> tuple[str, str]:
    return (f"{one.value:.3f}", f"{one.low:.3f}–{one.high:.3f}") if one else ("–", "–")


def _passes(table: Table) -> bool:
    """Whether the chosen row keeps what was asked of it; without a target nothing was asked."""
    chosen = next((row for row in table.rows if row.name == table.chosen_name), None)
    return chosen is not None and (chosen.verdict is None or chosen.verdict.outcome == "pass")


def _cells(row: Row, mark: str) -> list[Text | str]:
    assert row.metric is not None
    verdict = row.verdict.outcome if row.verdict else "–"
    more = row.verdict.rows_needed if row.verdict else None
    return [
        Text(mark + row.name, style="bold" if mark.strip() else ""),
        f"{row.metric.value:.3f}",
        f"{row.metric.low:.3f}–{row.metric.high:.3f}",
        _number(row.latency.p50 if row.latency else None),
        _number(row.latency.p95 if row.latency else None),
        _number(row.disk_bytes / 1e6 if row.disk_bytes else None),
        _number(row.peak_memory_bytes / 1e6 if row.peak_memory_bytes else None),
        f"{row.cost_per_1000:.2g}" if row.cost_per_1000 is not None else "–",
        _parity(row),
        Text(verdict + (f" (+{more:,} rows)" if more else ""), style=COLOURS.get(verdict, "dim")),
    ]


def _parity(row: Row) -> Text | str:
    if row.parity is None:
        return "–"
    return Text(f"{row.parity.ids_equal}/{row.parity.rows}", style="" if row.parity.holds else "bold red")


def _number(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 1 else f"{value:.2f}"
