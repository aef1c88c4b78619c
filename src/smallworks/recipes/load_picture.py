"""The picture of a load test as SVG: percentiles of a time, with their intervals, at each level of load.

Draws with the page's CSS classes. Milliseconds are on a logarithmic axis, levels side by side in the order
they ran. Knows levels; knows nothing of the page.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape
from typing import Literal

from smallworks.evaluate.latency import Percentile
from smallworks.evaluate.level import Level
from smallworks.recipes import figures
from smallworks.recipes.axes import decades
from smallworks.recipes.svg import line, text

LEFT, TOP, RIGHT, BOTTOM = 56.0, 26.0, 64.0, 58.0
SHOWN = {"p50": "f2", "p95": "f1", "p99": "f4"}
"""Percentiles and the colour of each."""
APART = 9.0
"""Pixels between the whiskers of one level."""
LEAST_MS = 1e-3

Which = Literal["latency", "first"]


def draw(levels: Sequence[Level], which: Which, width: int, height: int) -> str:
    """An SVG element without ids or outside references; the empty string when nothing was timed."""
    found = [(one, timed) for one in levels if (timed := getattr(one, which))]
    if not found:
        return ""
    ends = [max(end, LEAST_MS) for _, timed in found for name in SHOWN for end in _ends(timed[name])]
    fast, slow = min(ends) / 1.3, max(ends) * 1.3

    def y(ms: float) -> float:
        share = math.log(max(ms, LEAST_MS) / fast) / math.log(slow / fast)
        return height - BOTTOM - min(1.0, max(0.0, share)) * (height - TOP - BOTTOM)

    def x(at: int) -> float:
        return LEFT + (at + 0.5) * (width - LEFT - RIGHT) / len(found)

    marks = []
    for ms in decades(fast, slow, (height - TOP - BOTTOM) * 1.6):
        marks.append(line(LEFT, y(ms), width - RIGHT, y(ms), "grid"))
        marks.append(text(LEFT - 8, y(ms) + 4, f"{ms:g}", "tick", anchor="end"))
    marks.append(line(LEFT, height - BOTTOM, width - RIGHT, height - BOTTOM, "axis"))
    marks.append(
        text(2, 14, f"↑ {'time to first token' if which == 'first' else 'latency'}, ms", "axis-name")
    )
    for at, (one, _) in enumerate(found):
        marks.append(text(x(at), height - BOTTOM + 18, one.name, "axis-name", anchor="middle"))
        served = f"{figures.number(one.per_second)} answers/s"
        marks.append(text(x(at), height - BOTTOM + 36, served, "tick", anchor="middle"))
    for name, colour in SHOWN.items():
        marks += _series([(x(at), timed[name]) for at, (_, timed) in enumerate(found)], name, colour, y)
    words = f"{', '.join(SHOWN)} of {which} at {len(found)} levels of load"
    return (
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(words)}">{"".join(marks)}</svg>'
    )


def _ends(found: Percentile) -> tuple[float, ...]:
    return (found.low or found.value, found.value, found.value if found.high is None else found.high)


def _series(
    points: Sequence[tuple[float, Percentile]], name: str, colour: str, y: Callable[[float], float]
) -> list[str]:
    """One percentile over all levels: its whiskers, dots, the line through them, and its name at the end."""
    shift = APART * (list(SHOWN).index(name) - 1)
    marks, before = [], None
    for middle, found in points:
        at, here = middle + shift, y(found.value)
        low, high = y(found.low or found.value), y(found.value if found.high is None else found.high)
        if before:
            marks.append(line(*before, at, here, f"leader {colour}"))
        marks.append(line(at, low, at, high, f"whisker {colour}"))
        marks += [line(at - 3, end, at + 3, end, f"whisker {colour}") for end in (low, high)]
        top = "unknown" if found.high is None else f"{found.high:,.2f}"
        title = f"{name}: {found.value:,.2f} ms [{found.low:,.2f}, {top}] of {found.n:,} requests"
        marks.append(
            f'<g><title>{title}</title><circle class="dot {colour}" cx="{at:.1f}" cy="{here:.1f}" r="4"/></g>'
        )
        before = (at, here)
    if before:
        marks.append(text(before[0] + 10, before[1] + 4, name, "name"))
    return marks
