"""The picture of a table as SVG: quality with its interval against p95 latency, dot area by memory.

Draws with the page's CSS classes, so it follows its light and dark scheme. Knows nothing of the page.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

from smallworks.recipes import figures
from smallworks.recipes.axes import Scale, cut, decades, fit, levels
from smallworks.recipes.labels import Box, Label, Placed, place
from smallworks.recipes.svg import line, text
from smallworks.types import Estimate, Row, Table, Targets

FAMILIES = ("majority", "linear", "fused", "lm-zero", "lm-few", "lm-lora", "flagship", "lm-full")
LETTER = 6.9  # pixels of a letter at 12.5 px, on the wide side
LINE = 15.0
LARGEST, SMALLEST = 15.0, 3.5
RING = 5.0
STRIP = 46.0
"""Height of the strip below the axis for candidates too far down to share its scale."""


@dataclass(frozen=True, kw_only=True)
class Dot:
    row: Row
    estimate: Estimate
    x: float
    y: float
    radius: float
    low_in_strip: bool
    chosen: bool


def draw(table: Table, targets: Targets, *, width: int = 1040, height: int = 480) -> str:
    """An SVG element without ids or outside references; the empty string when nothing was timed."""
    timed = [(row, row.metric) for row in table.rows if row.metric and row.latency and row.latency.p95 > 0]
    lines = [(row, row.metric) for row in table.rows if row.metric and not row.latency]
    if not timed:
        return ""
    floor = cut([e.value for _, e in timed])
    below = any(e.value < floor for _, e in timed)
    narrow = width < 600
    bottom = height - 74 - (STRIP if below else 0) - (34 if narrow else 0)
    frame = Box(52, 18, width - 14, bottom)
    scale = fit(frame, timed, lines, targets, floor)
    size = _sizes([row for row, _ in timed])
    dots = [_dot(row, e, scale, size, floor, row.name == table.chosen_name) for row, e in timed]
    body = [
        *_grid(scale, below),
        *_rules(scale, targets, [(row, e) for row, e in lines if e.value >= scale.low]),
        *_whiskers(scale, dots),
        *(_circle(dot) for dot in sorted(dots, key=lambda dot: -dot.radius)),
        *_names(scale, dots, targets, lines),
        *_axis_names(scale, table.metric, below),
        *_legend(dots, size, width, height, narrow),
    ]
    words = f"{table.metric} against p95 latency of {len(dots)} candidates"
    return (
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(words)}">'
        + "".join(body)
        + "</svg>"
    )


# --- sizes -------------------------------------------------------------------------------------


def _sizes(rows: Sequence[Row]) -> tuple[str, Callable[[Row], float], float]:
    """What the dot area shows, its bytes for a row, and the bytes of the largest dot."""

    def memory(row: Row) -> float:
        return float(row.peak_memory_bytes or 0)

    def disk(row: Row) -> float:
        return float(row.disk_bytes or 0)

    name, measure = ("peak memory", memory) if any(map(memory, rows)) else ("disk", disk)
    return name, measure, max(map(measure, rows), default=0.0)


def radius(amount: float, most: float) -> float:
    """Area in proportion to the amount; never too small to see."""
    return max(SMALLEST, LARGEST * math.sqrt(amount / most)) if most else 6.0


def _dot(
    row: Row,
    estimate: Estimate,
    scale: Scale,
    size: tuple[str, Callable[[Row], float], float],
    floor: float,
    chosen: bool,
) -> Dot:
    assert row.latency is not None
    under = estimate.value < floor
    return Dot(
        row=row,
        estimate=estimate,
        x=scale.x(row.latency.p95),
        y=scale.frame.bottom + STRIP / 2 + 2 if under else scale.y(estimate.value),
        radius=radius(size[1](row), size[2]),
        low_in_strip=under,
        chosen=chosen,
    )


# --- marks --------------------------------------------------------------------------------------


def _grid(scale: Scale, below: bool) -> list[str]:
    frame, marks = scale.frame, []
    foot = frame.bottom + (STRIP if below else 0)
    for level in levels(scale.low, scale.high, frame.bottom - frame.top):
        y = scale.y(level)
        marks.append(line(frame.left, y, frame.right, y, "grid"))
        marks.append(text(frame.left - 8, y + 4, f"{level:.3g}", "tick", anchor="end"))
    for ms in decades(scale.fast, scale.slow, frame.right - frame.left):
        x = scale.x(ms)
        marks.append(line(x, frame.top, x, foot, "grid"))
        marks.append(text(x, foot + 18, f"{ms:g}", "tick", anchor="middle"))
    marks.append(line(frame.left, foot, frame.right, foot, "axis"))
    if below:
        marks.append(line(frame.left, frame.bottom, frame.right, frame.bottom, "break"))
        marks.append(text(frame.left - 8, frame.bottom + STRIP / 2 + 6, "below", "tick", anchor="end"))
    return marks


def _rules(scale: Scale, targets: Targets, lines: Sequence[tuple[Row, Estimate]]) -> list[str]:
    """The target, the latency limit, and a dashed line for each candidate without latency."""
    frame, marks = scale.frame, []
    if targets.at_least is not None:
        y = scale.y(targets.at_least)
        marks.append(line(frame.left, y, frame.right, y, "target"))
    if targets.p95_ms:
        x = scale.x(targets.p95_ms)
        marks.append(line(x, frame.top, x, frame.bottom, "limit"))
    for row, estimate in lines:
        y = scale.y(estimate.value)
        band = scale.y(estimate.low) - scale.y(estimate.high)
        marks.append(
            f"<g><title>{escape(_title(row, estimate))}</title>"
            f'<rect class="band" x="{frame.left:.1f}" y="{scale.y(estimate.high):.1f}" '
            f'width="{frame.right - frame.left:.1f}" height="{band:.1f}"/>'
            + line(frame.left, y, frame.right, y, f"untimed {_family(row)}")
            + "</g>"
        )
    return marks


def _whiskers(scale: Scale, dots: Sequence[Dot]) -> list[str]:
    marks = []
    for dot in dots:
        if dot.low_in_strip:
            continue
        top, bottom = scale.y(dot.estimate.high), scale.y(dot.estimate.low)
        style = f"whisker {_family(dot.row)}"
        marks.append(line(dot.x, top, dot.x, bottom, style))
        marks += [line(dot.x - 4, y, dot.x + 4, y, style) for y in (top, bottom)]
    return marks


def _circle(dot: Dot) -> str:
    at = f'cx="{dot.x:.1f}" cy="{dot.y:.1f}"'
    ring = f'<circle class="ring" {at} r="{dot.radius + RING:.1f}"/>' if dot.chosen else ""
    mark = f'<circle class="dot {_family(dot.row)}" {at} r="{dot.radius:.1f}"/>'
    return f"<g><title>{escape(_title(dot.row, dot.estimate))}</title>{mark}{ring}</g>"


def _names(
    scale: Scale,
    dots: Sequence[Dot],
    targets: Targets,
    lines: Sequence[tuple[Row, Estimate]],
) -> list[str]:
    """The labels: of the rules first, at the edge; then of the dots, the chosen one before the others."""
    frame = scale.frame
    taken = [_around(dot) for dot in dots]
    taken += [
        Box(dot.x - 4, scale.y(dot.estimate.high), dot.x + 4, scale.y(dot.estimate.low))
        for dot in dots
        if not dot.low_in_strip
    ]
    marks, obstacles = _rule_names(scale, targets, lines, taken)
    obstacles += taken
    order = sorted(dots, key=lambda dot: (not dot.chosen, -dot.y, dot.x))
    for strip in (False, True):
        group = [dot for dot in order if dot.low_in_strip is strip]
        room = Box(frame.left, frame.bottom + 2, frame.right, frame.bottom + STRIP - 2) if strip else frame
        wanted = [_label(dot) for dot in group]
        for dot, placed in zip(group, place(wanted, obstacles, room), strict=True):
            obstacles.append(placed.box)
            marks.append(_name(dot, placed))
    return marks


def _around(dot: Dot) -> Box:
    reach = dot.radius + (RING if dot.chosen else 0)
    return Box(dot.x - reach, dot.y - reach, dot.x + reach, dot.y + reach)


def _label(dot: Dot) -> Label:
    reach = dot.radius + (RING if dot.chosen else 0)
    width = len(_said(dot)) * LETTER * (1.08 if dot.chosen else 1)
    return Label(x=dot.x, y=dot.y, radius=reach, width=width, height=LINE)


def _said(dot: Dot) -> str:
    name = f"{dot.row.name} {dot.estimate.value:.2f}" if dot.low_in_strip else dot.row.name
    return f"{name} · chosen" if dot.chosen else name


def _name(dot: Dot, placed: Placed) -> str:
    box = placed.box
    right = box.left >= dot.x
    middle = box.left < dot.x < box.right
    x, anchor = (
        ((box.left + box.right) / 2, "middle")
        if middle
        else (box.left, "start")
        if right
        else (box.right, "end")
    )
    leader = ""
    if placed.away:
        end = (box.left + box.right) / 2 if middle else x + (-2 if right else 2)
        edge = (box.bottom if box.bottom < dot.y else box.top) if middle else (box.top + box.bottom) / 2
        leader = line(dot.x, dot.y, end, edge, "leader")
    style = "name chosen" if dot.chosen else "name"
    return leader + text(x, box.bottom - 4, _said(dot), style, anchor=anchor)


def _rule_names(
    scale: Scale, targets: Targets, lines: Sequence[tuple[Row, Estimate]], taken: Sequence[Box]
) -> tuple[list[str], list[Box]]:
    """The names at the free ends of their lines; the space that names and lines take."""
    frame, marks, boxes = scale.frame, [], list[Box]()
    rules = [(e.value, f"{row.name} {e.value:.3f}, no latency", "rule") for row, e in lines]
    if targets.at_least is not None:
        rules.append((targets.at_least, f"target {targets.at_least:g}", "rule target"))
    for value, words, style in sorted(rules):
        if value < scale.low:
            continue
        box, anchor = _end_of_line(scale.y(value), len(words) * LETTER, frame, [*taken, *boxes])
        marks.append(
            text(box.right if anchor == "end" else box.left, box.bottom - 4, words, style, anchor=anchor)
        )
        boxes += [box, Box(frame.left, scale.y(value) - 1, frame.right, scale.y(value) + 1)]
    if targets.p95_ms:
        x, words = scale.x(targets.p95_ms), f"limit {targets.p95_ms:g} ms"
        marks.append(text(x - 6, frame.bottom - 8, words, "rule limit", anchor="end"))
        boxes.append(Box(x - 6 - len(words) * LETTER, frame.bottom - 20, x, frame.bottom - 4))
        boxes.append(Box(x - 1, frame.top, x + 1, frame.bottom))
    return marks, boxes


def _end_of_line(y: float, width: float, frame: Box, taken: Sequence[Box]) -> tuple[Box, str]:
    """The freest of four places: above or below the line, at its right or left end."""
    spots = [
        (Box(left, top, left + width, top + LINE), anchor)
        for top in (y - LINE - 1, y + 2)
        for left, anchor in ((frame.right - 4 - width, "end"), (frame.left + 6, "start"))
    ]
    return min(spots, key=lambda spot: sum(spot[0].overlap(box) for box in taken) + spot[0].outside(frame))


def _axis_names(scale: Scale, metric: str, below: bool) -> list[str]:
    frame = scale.frame
    foot = frame.bottom + (STRIP if below else 0)
    return [
        text(frame.left - 44, 10, f"↑ {metric}", "axis-name"),
        text(frame.right, foot + 38, "p95 latency, ms (log) →", "axis-name", anchor="end"),
    ]


def _legend(
    dots: Sequence[Dot],
    size: tuple[str, Callable[[Row], float], float],
    width: int,
    height: int,
    narrow: bool,
) -> list[str]:
    """Colours of the families at the left; at the right, what three sizes of dots stand for."""
    marks: list[str] = []
    x, y = 8.0, height - (42.0 if narrow else 12.0)
    for family in dict.fromkeys(dot.row.kind for dot in dots):
        row = next(dot.row for dot in dots if dot.row.kind == family)
        wide = 24 + len(family) * LETTER
        if x + wide > width - (0 if narrow else 330):
            x, y = 8.0, y + 17
        marks.append(f'<circle class="dot {_family(row)}" cx="{x + 5:.1f}" cy="{y - 4:.1f}" r="5"/>')
        marks.append(text(x + 14, y, family, "tick"))
        x += wide
    name, _, most = size
    if not most:
        return marks
    x, y = (float(width - 14), height - 12.0)
    for amount in (most, most / 4, most / 16):
        words = f"{figures.megabytes(int(amount))} MB"
        marks.append(text(x, y, words, "tick", anchor="end"))
        x -= len(words) * LETTER + 6 + radius(amount, most)
        marks.append(f'<circle class="size" cx="{x:.1f}" cy="{y - 4:.1f}" r="{radius(amount, most):.1f}"/>')
        x -= radius(amount, most) + 14
    marks.append(text(x, y, f"area: {name}", "tick", anchor="end"))
    return marks


# --- elements -----------------------------------------------------------------------------------


def _family(row: Row) -> str:
    """The CSS class of a row's colour."""
    return f"f{FAMILIES.index(row.kind)}" if row.kind in FAMILIES else "other"


def _title(row: Row, estimate: Estimate) -> str:
    parts = [f"{row.name}: {figures.share(estimate.value)} {figures.interval(estimate)}"]
    if row.latency:
        parts.append(f"p95 {figures.number(row.latency.p95)} ms")
    if row.peak_memory_bytes:
        parts.append(f"{figures.megabytes(row.peak_memory_bytes)} MB")
    if row.verdict:
        parts.append(row.verdict.outcome)
    return ", ".join(parts)
