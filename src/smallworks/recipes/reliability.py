"""The reliability picture as SVG: how sure the answers were against how often they were right.

Draws with the page's CSS classes. Knows bins with their intervals; knows nothing of the page or of fitting.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from smallworks.evaluate.calibration import Bin, Reliability
from smallworks.recipes import figures
from smallworks.recipes.svg import line, text

SIDE = 400.0
LEFT, TOP, RIGHT, BOTTOM = 46.0, 20.0, 14.0, 44.0
LARGEST, SMALLEST = 11.0, 2.5
TICKS = 5


def draw(found: Reliability) -> str:
    """An SVG element without ids or outside references: on the line is honest, below it boasts."""
    words = f"share right against confidence in {len(found.bins)} bins of {_rows(found.bins):,} rows"
    marks = [*_grid(), line(_x(0), _y(0), _x(1), _y(1), "target"), *_names()]
    most = max(one.right.n for one in found.bins)
    for one in found.bins:
        marks += [*_whisker(one), _dot(one, most)]
    return (
        f'<svg viewBox="0 0 {SIDE:g} {SIDE:g}" role="img" aria-label="{words}">' + "".join(marks) + "</svg>"
    )


def said(found: Reliability) -> str:
    """The sentence below it."""
    error, bins = found.error, found.bins
    judged = "these rows do not tell its probabilities from perfect ones"
    if error.low > 0:
        off = sum(one.right.n * (one.confidence - one.right.value) for one in bins) / _rows(bins)
        leaning = "too sure of itself" if off > 0 else "too modest"
        judged = f"on the whole it is {leaning}, by {figures.points(off)} points"
    return (
        f"Calibration error {figures.share(error.value)} {figures.interval(error)}, where perfect "
        f"probabilities would show about {figures.share(found.by_chance)} on so many rows: {judged}."
    )


def _rows(bins: Sequence[Bin]) -> int:
    return sum(one.right.n for one in bins)


def _x(share: float) -> float:
    return LEFT + share * (SIDE - LEFT - RIGHT)


def _y(share: float) -> float:
    return SIDE - BOTTOM - share * (SIDE - TOP - BOTTOM)


def _grid() -> list[str]:
    marks = []
    for share in (i / TICKS for i in range(TICKS + 1)):
        marks.append(line(_x(0), _y(share), _x(1), _y(share), "grid"))
        marks.append(line(_x(share), _y(0), _x(share), _y(1), "grid"))
        marks.append(text(_x(0) - 8, _y(share) + 4, f"{share:g}", "tick", anchor="end"))
        marks.append(text(_x(share), _y(0) + 18, f"{share:g}", "tick", anchor="middle"))
    return [*marks, line(_x(0), _y(0), _x(1), _y(0), "axis")]


def _names() -> list[str]:
    return [
        text(2, 12, "↑ share right", "axis-name"),
        text(_x(1), SIDE - 6, "confidence →", "axis-name", anchor="end"),
    ]


def _whisker(one: Bin) -> list[str]:
    x, low, high = _x(one.confidence), _y(one.right.low), _y(one.right.high)
    caps = [line(x - 3, y, x + 3, y, "whisker f1") for y in (low, high)]
    return [line(x, low, x, high, "whisker f1"), *caps]


def _dot(one: Bin, most: int) -> str:
    radius = max(SMALLEST, LARGEST * math.sqrt(one.right.n / most))
    title = (
        f"confidence {one.low:.2f} to {one.high:.2f}: {one.right.n:,} rows, {one.right.value:.3f} right "
        f"[{one.right.low:.3f}, {one.right.high:.3f}]"
    )
    at = f'cx="{_x(one.confidence):.1f}" cy="{_y(one.right.value):.1f}" r="{radius:.1f}"'
    return f'<g><title>{title}</title><circle class="dot f1" {at}/></g>'
