"""How commands talk: progress and remarks on stderr, results and JSON on stdout. Knows no command."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console

from smallworks.seams import Progress

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

WIDTH = 120
"""Columns where stdout is no terminal: a table in a log should not be cut at 80."""
out = Console(width=None if sys.stdout.isatty() else WIDTH)
err = Console(stderr=True)


def print_json(value: Any) -> None:
    """One JSON document on stdout, and nothing else."""
    sys.stdout.write(json.dumps(value, indent=1, ensure_ascii=False, default=str) + "\n")


def say(text: str, *, style: str = "") -> None:
    """A line of the result on stdout, printed as it is: brackets in it are no markup."""
    out.print(text, markup=False, highlight=False, soft_wrap=True, style=style)


def remark(text: str) -> None:
    """A line of talk on stderr."""
    err.print(text, highlight=False, soft_wrap=True)


@contextmanager
def progress() -> Iterator[Progress]:
    """Live bars on a terminal, one line a finished step elsewhere (logs, CI)."""
    if not err.is_terminal:
        yield _Lines()
        return
    from rich.progress import BarColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars

    columns = (
        SpinnerColumn(finished_text="[green]✓"),
        TextColumn("{task.description:<24}"),
        BarColumn(bar_width=28),
        TimeElapsedColumn(),
        TextColumn("[dim]{task.fields[note]}"),
    )
    with Bars(*columns, console=err) as bars:
        yield _Live(bars)


class _Live:
    """One bar a step; a step with an unknown total pulses."""

    def __init__(self, bars: Bars) -> None:
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, step: str, done: float, total: float, note: str) -> None:
        if step not in self._tasks:
            self._tasks[step] = self._bars.add_task(step, total=None, note="")
        finished = note == "done" and done >= total > 0
        self._bars.update(
            self._tasks[step],
            completed=done if total else None,
            total=total or None,
            note="" if finished else note[:60],
        )


class _Lines:
    """Plain lines for a stream that is no terminal: when a step starts, and when it is done."""

    def __init__(self) -> None:
        self._started: dict[str, float] = {}

    def __call__(self, step: str, done: float, total: float, note: str) -> None:
        begins = not done and not total and not note
        if begins or step not in self._started:
            self._started[step] = time.perf_counter()
        elif note == "done" and done >= total > 0:
            seconds = time.perf_counter() - self._started[step]
            err.print(f"  {step:<28} {seconds:6.1f} s", highlight=False)
