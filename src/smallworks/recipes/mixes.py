"""The picture of a cascade as SVG: the quality of every mix of its stages against what a request costs.

Draws with the page's CSS classes. Knows mixes as a build left them; knows nothing of the page.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from smallworks import files
from smallworks.recipes import figures
from smallworks.recipes.axes import Scale, decades, levels
from smallworks.recipes.labels import Box, Label, place
from smallworks.recipes.svg import line, text
from smallworks.types import Table

WIDTH, HEIGHT = 560.0, 360.0
FRAME = Box(52, 24, WIDTH - 16, HEIGHT - 46)
LETTER, LINE = 6.9, 15.0
DOT, LARGE, RING = 3.0, 6.0, 10.5


@dataclass(frozen=True, kw_only=True)
class Point:
    """`cost` is dollars a request; `handed` the share that the last stage answers."""

    cost: float
    quality: float
    handed: float
    promised: bool
    thresholds: tuple[float | None, ...]


@dataclass(frozen=True, kw_only=True)
class Mixes:
    """What a cascade's row left: its stages, their mixes on the held-out rows, the choice, the bounds."""

    name: str
    stages: tuple[str, ...]
    rows: int
    points: tuple[Point, ...]
    chosen: Point
    last: Point
    oracle: Point
    counted: bool = True
    """Whether a row is right or wrong; else it has a score."""


def of_table(table: Table) -> tuple[Mixes, ...]:
    """Those of every cascade on the table whose file is there."""
    return tuple(read(row.name, row.mixes) for row in table.rows if row.mixes and row.mixes.is_file())


def read(name: str, path: Path) -> Mixes:
    raw = files.read_json(path)
    return Mixes(
        name=name,
        stages=tuple(raw["stages"]),
        rows=raw["rows"],
        points=tuple(_point(one) for one in raw["mixes"]),
        chosen=_point(raw["chosen"]),
        last=_point(raw["last"]),
        oracle=_point(raw["oracle"]),
        counted=raw["last"].get("spread") is None,
    )


def draw(found: Mixes) -> str:
    """An SVG element without ids or outside references; the empty string where nothing costs anything."""
    every = [*found.points, found.last, found.oracle]
    if min(point.cost for point in every) <= 0:
        return ""
    scale, quality = _scale(every), "share right" if found.counted else "mean score"
    body = [
        *_grid(scale, quality),
        *(line(*_at(scale, a), *_at(scale, b), "leader") for a, b in pairwise(found.points)),
        *(_dot(scale, point, DOT, "f1" if point.promised else "f0", found) for point in found.points),
        _dot(scale, found.last, LARGE, "f6", found),
        _dot(scale, found.oracle, LARGE, "f4", found),
        _dot(scale, found.chosen, LARGE, "f1", found),
        _ring(scale, found.chosen),
        *_names(scale, found),
    ]
    words = f"{quality} against cost of {len(found.points)} mixes of {' and '.join(found.stages)}"
    return (
        f'<svg viewBox="0 0 {WIDTH:g} {HEIGHT:g}" role="img" aria-label="{words}">' + "".join(body) + "</svg>"
    )


def said(found: Mixes) -> str:
    """The sentence beside it."""
    chosen, last, oracle, dear = found.chosen, found.last, found.oracle, found.stages[-1]
    kept = "show that it keeps its promise" if chosen.promised else "are too few to promise as much"
    does, will = ("is right on", "will be right") if found.counted else ("scores", "will do as well")
    alone, best = figures.share(last.quality), figures.share(oracle.quality)
    return (
        f"On {found.rows:,} held-out rows the chosen mix {does} {figures.share(chosen.quality)} and "
        f"hands {100 * chosen.handed:.0f} % to {dear} (alone {alone}), and these rows {kept}. It takes "
        f"{100 * chosen.cost / last.cost:.0f} % of the cost. Could one see beforehand whether "
        f"{' and '.join(found.stages[:-1])} {will}, handing over {100 * oracle.handed:.0f} % would "
        f"reach {best}."
    )


def _point(raw: Mapping[str, Any]) -> Point:
    return Point(
        cost=raw["cost"],
        quality=raw["quality"],
        handed=raw["shares"][-1],
        promised=raw["promised"],
        thresholds=tuple(raw["thresholds"]),
    )


def _scale(points: Sequence[Point]) -> Scale:
    low, high = min(p.quality for p in points), max(p.quality for p in points)
    pad = max(0.005, 0.08 * (high - low))
    costs = [1000 * point.cost for point in points]
    return Scale(
        frame=FRAME,
        low=max(0.0, low - pad),
        high=min(1.0, high + pad),
        fast=min(costs) / 1.25,
        slow=max(costs) * 1.25,
    )


def _at(scale: Scale, point: Point) -> tuple[float, float]:
    return scale.x(1000 * point.cost), scale.y(point.quality)


def _grid(scale: Scale, quality: str) -> list[str]:
    marks = []
    for level in levels(scale.low, scale.high, FRAME.bottom - FRAME.top):
        y = scale.y(level)
        marks.append(line(FRAME.left, y, FRAME.right, y, "grid"))
        marks.append(text(FRAME.left - 8, y + 4, f"{level:.3g}", "tick", anchor="end"))
    for cost in decades(scale.fast, scale.slow, FRAME.right - FRAME.left):
        x = scale.x(cost)
        marks.append(line(x, FRAME.top, x, FRAME.bottom, "grid"))
        marks.append(text(x, FRAME.bottom + 18, f"{cost:.2g}", "tick", anchor="middle"))
    return [
        *marks,
        line(FRAME.left, FRAME.bottom, FRAME.right, FRAME.bottom, "axis"),
        text(2, 12, f"↑ {quality}", "axis-name"),
        text(FRAME.right, HEIGHT - 6, "$ per 1,000 requests (log) →", "axis-name", anchor="end"),
    ]


def _dot(scale: Scale, point: Point, radius: float, style: str, found: Mixes) -> str:
    x, y = _at(scale, point)
    named = zip(found.stages, point.thresholds, strict=False)
    at = ", ".join(f"{name} from {t:g}" for name, t in named if t is not None)
    mix = f"{at}: " if at and point is not found.oracle else ""
    quality = figures.share(point.quality) + (" right" if found.counted else "")
    title = f"{mix}{quality}, {100 * point.handed:.1f} % to {found.stages[-1]}"
    mark = f'<circle class="dot {style}" cx="{x:.1f}" cy="{y:.1f}" r="{radius:g}"/>'
    return f"<g><title>{title}</title>{mark}</g>"


def _ring(scale: Scale, point: Point) -> str:
    x, y = _at(scale, point)
    return f'<circle class="ring" cx="{x:.1f}" cy="{y:.1f}" r="{RING:g}"/>'


def _names(scale: Scale, found: Mixes) -> list[str]:
    """The chosen mix, the last stage, the oracle and the first stage alone, none upon another."""
    alone = min(found.points, key=lambda point: (point.handed, point.cost))
    wanted = [
        (found.chosen, "chosen", "name chosen"),
        (found.last, f"{found.stages[-1]} alone", "name"),
        (found.oracle, "oracle", "name"),
        (alone, f"{found.stages[0]} alone", "name"),
    ]
    labels = [
        Label(x=_at(scale, p)[0], y=_at(scale, p)[1], radius=RING, width=len(words) * LETTER, height=LINE)
        for p, words, _ in wanted
    ]
    marks = []
    for (_, words, style), placed in zip(wanted, place(labels, [], FRAME), strict=True):
        marks.append(text(placed.box.left, placed.box.bottom - 4, words, style))
    return marks
