"""Place short labels beside their dots so that none covers another. Pure geometry, in pixels, y downwards.

Knows nothing of what the labels say.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

DISTANCES = (5.0, 13.0, 24.0, 38.0, 54.0, 74.0, 98.0)
ANGLES = (0, 180, -35, 35, -145, 145, -90, 90, -65, 65, -115, 115)
"""Right first, then left, then around; degrees, clockwise because y runs downwards."""


@dataclass(frozen=True)
class Box:
    left: float
    top: float
    right: float
    bottom: float

    def overlap(self, other: Box) -> float:
        """The area that both cover."""
        wide = min(self.right, other.right) - max(self.left, other.left)
        high = min(self.bottom, other.bottom) - max(self.top, other.top)
        return wide * high if wide > 0 and high > 0 else 0.0

    def outside(self, frame: Box) -> float:
        """By how many pixels it leaves a frame."""
        sides = (
            frame.left - self.left,
            frame.top - self.top,
            self.right - frame.right,
            self.bottom - frame.bottom,
        )
        return sum(max(0.0, side) for side in sides)


@dataclass(frozen=True, kw_only=True)
class Label:
    """A text of `width` × `height` that belongs to a dot at (x, y) with `radius`."""

    x: float
    y: float
    radius: float
    width: float
    height: float


@dataclass(frozen=True, kw_only=True)
class Placed:
    """Where it went; `away` says that it stands far enough off to need a line to its dot."""

    box: Box
    away: bool


def place(labels: Sequence[Label], obstacles: Sequence[Box], frame: Box) -> list[Placed]:
    """Each label at its cheapest free position, in the order given: the first have the first choice."""
    taken, placed = list(obstacles), []
    for label in labels:
        spots = [_spot(label, distance, angle) for distance in DISTANCES for angle in ANGLES]
        costs = [
            sum(box.overlap(other) for other in taken) * 10 + box.outside(frame) * 50 + i * 0.6
            for i, box in enumerate(spots)
        ]
        best = costs.index(min(costs))
        taken.append(spots[best])
        placed.append(Placed(box=spots[best], away=best >= 2 * len(ANGLES)))
    return placed


def _spot(label: Label, distance: float, angle: float) -> Box:
    """The box whose nearest edge or corner lies `distance` from the dot's rim in that direction."""
    across, down = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    reach = label.radius + distance
    x, y = label.x + reach * across, label.y + reach * down
    left = x - label.width * (1 - _sign(across)) / 2
    top = y - label.height / 2 + label.height / 2 * down
    return Box(left, top, left + label.width, top + label.height)


def _sign(value: float) -> int:
    return 0 if abs(value) < 1e-9 else (1 if value > 0 else -1)
