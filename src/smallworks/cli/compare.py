"""`smallworks compare`: two bundles on the same rows, paired."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from smallworks.cli import talk
from smallworks.recipes import examine


def compare(
    a: Path, b: Path, rows: Path | None = None, /, *, metric: str | None = None, json: bool = False
) -> None:
    """B against A: the difference with its 95 % interval and an exact test on the rows where they differ.

    Parameters
    ----------
    a
        A bundle's folder, or the records file of an earlier evaluation.
    b
        Another one.
    rows
        A data file or task folder (default: the task beside the bundle).
    metric
        Default: the task's own.
    json
        One JSON document on stdout.
    """
    with talk.progress() as progress:
        done = examine.compare(a, b, rows, metric=metric, progress=progress)
    if json:
        talk.print_json(asdict(done))
        return
    d = done.difference
    lines = (
        f"A  {a}",
        f"B  {b}\n",
        f"{done.metric}  A {done.a.value:.4f} [{done.a.low:.4f}, {done.a.high:.4f}]",
        f"{'':{len(done.metric)}}  B {done.b.value:.4f} [{done.b.low:.4f}, {done.b.high:.4f}]",
        f"B − A  {d.value:+.4f} [{d.low:+.4f}, {d.high:+.4f}] on {d.n:,} rows"
        + (f" in {d.groups:,} groups" if d.groups else ""),
        f"A alone right on {done.only_a}, B alone on {done.only_b}; {done.test}, p = {done.p_value:.4g}",
    )
    for line in lines:
        talk.out.print(line, highlight=False, soft_wrap=True)
