"""`smallworks evaluate`: measure a bundle on labelled rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table as Grid

from smallworks.bundle import open_bundle
from smallworks.cli import talk
from smallworks.evaluate.abstention import Abstention
from smallworks.recipes import examine, figures
from smallworks.types import Estimate


def evaluate(
    bundle: Path, rows: Path | None = None, /, *, out: Path | None = None, json: bool = False
) -> None:
    """Every metric with its 95 % interval, latency, memory, and agreement with the golden rows.

    Parameters
    ----------
    bundle
        The bundle's folder.
    rows
        A data file, or a task folder whose test set is taken (default: the task beside the bundle).
    out
        Keep one record a row in this JSONL file.
    json
        One JSON document on stdout.
    """
    with talk.progress() as progress:
        seen = examine.evaluate(open_bundle(bundle), rows, out=out, progress=progress)
    for notice in seen.notices:
        talk.remark(f"{notice.severity}  {escape(notice.sentence)}")
    if json:
        talk.print_json(_document(bundle, seen))
        return
    _show_metrics(seen.scorecard["metrics"])
    if seen.abstention:
        _show_abstention(seen.abstention)
    latency = seen.scorecard["latency"]
    talk.out.print(
        f"\nlatency p50 {latency['p50']:.2f} ms, p95 {latency['p95']:.2f}, p99 {latency['p99']:.2f}; "
        f"{latency['rows_per_second']:,.0f} rows/s; "
        f"peak memory {seen.scorecard['peak_memory_bytes'] / 1e6:,.0f} MB",
        highlight=False,
        soft_wrap=True,
    )
    if stages := Counter(record.stage for record in seen.records if record.stage):
        said = (f"{stage} {100 * n / len(seen.records):.1f} %" for stage, n in stages.most_common())
        talk.say(f"answered by {', '.join(said)}")
    if seen.calibration:
        error, chance = seen.calibration.error, seen.calibration.by_chance
        talk.say(
            f"calibration error {error.value:.4f} [{error.low:.4f}, {error.high:.4f}]; "
            f"perfect probabilities would show about {chance:.4f} on so many rows"
        )
    if seen.parity:
        equal, rows = seen.parity["ids_equal"], seen.parity["rows"]
        state = "agrees" if seen.parity["holds"] else "DOES NOT AGREE"
        talk.out.print(
            f"{state} with its golden rows (token ids equal on {equal} of {rows})", highlight=False
        )


def _document(bundle: Path, seen: examine.Examination) -> dict[str, Any]:
    return {
        "bundle": str(bundle),
        **seen.scorecard,
        "calibration": asdict(seen.calibration) if seen.calibration else None,
        "abstention": asdict(seen.abstention) if seen.abstention else None,
        "parity": seen.parity,
        "stages": dict(Counter(record.stage for record in seen.records if record.stage)),
    }


def _show_metrics(metrics: Mapping[str, Mapping[str, Any]]) -> None:
    """Lenient metrics that equal the strict ones are left out."""
    grid = Grid(box=None, pad_edge=False, header_style="bold")
    for name in ("metric", "value", "95 % interval", "rows"):
        grid.add_column(name, justify="left" if name == "metric" else "right")
    for name, e in metrics.items():
        if name.endswith("_lenient") and e == metrics[name.removesuffix("_lenient")]:
            continue
        grid.add_row(name, f"{e['value']:.4f}", f"{e['low']:.4f}–{e['high']:.4f}", str(e["n"]))
    talk.out.print(grid)
    first = Estimate(**next(iter(metrics.values())))
    if first.groups:
        talk.say(f"\n{figures.grouped(first)}", style="dim")


def _show_abstention(seen: Abstention) -> None:
    """Counts of rows: what there was to answer with, and what was done."""
    grid = Grid(box=None, pad_edge=False, header_style="bold")
    grid.add_column("")
    for name in ("answered", "abstained"):
        grid.add_column(name, justify="right")
    for name, rows in (("answerable", seen.answerable), ("unanswerable", seen.unanswerable)):
        grid.add_row(name, f"{rows.answered:,}", f"{rows.abstained:,}")
    talk.out.print()
    talk.out.print(grid)
