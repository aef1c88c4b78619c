"""The losses of a tuning on its way, as SVG: of the training rows, and of the validation rows that chose.

Draws with the page's CSS classes. Knows points; knows nothing of the page or of how they came about.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from smallworks.recipes.svg import line, text
from smallworks.tune.options import Point

WIDTH, HEIGHT = 400.0, 300.0
LEFT, TOP, RIGHT, BOTTOM = 46.0, 24.0, 70.0, 44.0
TICKS = 4


def draw(points: Sequence[Point]) -> str:
    """An SVG element; the ring is on the validation that was kept. Needs two validations at least."""
    judged = deciding(points)
    most = 1.05 * max((*judged, *(point.train_loss for point in points)))
    last, best = points[-1].step, judged.index(min(judged))

    def x(step: float) -> float:
        return LEFT + step / last * (WIDTH - LEFT - RIGHT)

    def y(loss: float) -> float:
        return HEIGHT - BOTTOM - loss / most * (HEIGHT - TOP - BOTTOM)

    marks = [text(2, 14, "↑ loss, nats", "axis-name")]
    marks.append(text(x(last), HEIGHT - 6, "step →", "axis-name", anchor="end"))
    for share in (tick / TICKS for tick in range(TICKS + 1)):
        marks.append(line(x(0), y(share * most), x(last), y(share * most), "grid"))
        marks.append(text(x(0) - 8, y(share * most) + 4, f"{share * most:.2g}", "tick", anchor="end"))
        marks.append(text(x(share * last), y(0) + 18, f"{share * last:.0f}", "tick", anchor="middle"))
    rows = {"training": ([point.train_loss for point in points], "f2"), "validation": (judged, "f1")}
    for name, (losses, style) in rows.items():
        places = [(x(point.step), y(loss)) for point, loss in zip(points, losses, strict=True)]
        marks += [line(*one, *two, f"whisker {style}") for one, two in pairwise(places)]
        marks.append(text(places[-1][0] + 5, places[-1][1] + 4, name, "name"))
    marks.append(f'<circle class="ring" cx="{x(points[best].step):.1f}" cy="{y(judged[best]):.1f}" r="5"/>')
    words = f"losses at {len(points)} validations"
    return (
        f'<svg viewBox="0 0 {WIDTH:g} {HEIGHT:g}" role="img" aria-label="{words}">'
        + "".join(marks)
        + "</svg>"
    )


def said(points: Sequence[Point]) -> str:
    """The sentence beside it."""
    judged = deciding(points)
    best = judged.index(min(judged))
    what = (
        "the loss of the labels at its best temperature"
        if points[best].label_loss is not None
        else "the loss of the supervised tokens"
    )
    return (
        f"The weights of step {points[best].step:,} of {points[-1].step:,} were kept: {what} was least "
        f"there, {judged[best]:.3f} nats on the validation rows."
    )


def deciding(points: Sequence[Point]) -> list[float]:
    """What the validations were compared by, one a point."""
    labels = [point.label_loss for point in points if point.label_loss is not None]
    return labels or [point.val_loss for point in points if point.val_loss is not None]
