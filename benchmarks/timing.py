"""Time several things in one run, in turns, so that a busy moment hits all of them alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

median = statistics.median


def in_turns(
    subjects: Mapping[str, Callable[[Any], Any]],
    items: Sequence[Any],
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Milliseconds of every subject on every item, each item given to all subjects before the next one.

    The first item is given once more beforehand, untimed, to warm up.
    """
    for call in subjects.values():
        call(items[0])
    taken: dict[str, list[float]] = {name: [] for name in subjects}
    for item in items:
        for name, call in subjects.items():
            start = clock()
            call(item)
            taken[name].append(1000 * (clock() - start))
    return taken


def medians(taken: Mapping[str, Sequence[float]]) -> dict[str, float]:
    return {name: round(median(ms), 3) for name, ms in taken.items()}
