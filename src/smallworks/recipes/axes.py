"""The axes of the picture: which values they span, which pixels those become, where the ticks stand.

Quality is linear, latency logarithmic. Knows nothing of SVG.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from smallworks.recipes.labels import Box
from smallworks.types import Estimate, Row, Targets

STEPS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2)


@dataclass(frozen=True, kw_only=True)
class Scale:
    """The frame of the plot and how values become pixels."""

    frame: Box
    low: float
    high: float
    fast: float
    slow: float

    def y(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return self.frame.bottom - share * (self.frame.bottom - self.frame.top)

    def x(self, ms: float) -> float:
        share = math.log(ms / self.fast) / math.log(self.slow / self.fast)
        return self.frame.left + share * (self.frame.right - self.frame.left)


def fit(
    frame: Box,
    timed: Sequence[tuple[Row, Estimate]],
    lines: Sequence[tuple[Row, Estimate]],
    targets: Targets,
    floor: float,
) -> Scale:
    """The scale that holds all intervals above the floor, the target and the limit, with a margin."""
    shown = [e for _, e in timed if e.value >= floor] + [e for _, e in lines if e.value >= floor]
    ends = [end for e in shown for end in (e.low, e.high)]
    if targets.at_least is not None:
        ends.append(targets.at_least)
    pad = max(0.01, 0.06 * (max(ends) - min(ends)))
    times = [row.latency.p95 for row, _ in timed if row.latency]
    if targets.p95_ms:
        times.append(targets.p95_ms)
    spread = max(1.8, (max(times) / min(times)) ** 0.08)
    low, high = max(0.0, min(ends) - pad), min(1.0, max(ends) + pad)
    return Scale(frame=frame, low=low, high=high, fast=min(times) / spread, slow=max(times) * spread)


def cut(values: Sequence[float]) -> float:
    """The value below which candidates leave the common scale: above a gap that dwarfs the rest.

    A majority baseline at 0.01 would press all that matters at 0.9 into one line.
    """
    ordered = sorted(values)
    gaps = [(b - a, b) for a, b in pairwise(ordered)]
    wide = [(gap, b) for gap, b in gaps if sum(v >= b for v in ordered) >= 2]
    if not wide:
        return 0.0
    gap, above = max(wide)
    return above if gap > 0.3 and gap > 3 * (ordered[-1] - above) else 0.0


def decades(fast: float, slow: float, room: float) -> list[float]:
    """Tick values on a logarithmic axis: 1-2-5 where there is room for them, else powers of ten."""
    powers = range(math.floor(math.log10(fast)), math.ceil(math.log10(slow)) + 1)
    for factors in ((1, 2, 5), (1, 3), (1,)):
        ticks = [f * 10.0**p for p in powers for f in factors if fast <= f * 10.0**p <= slow]
        if len(ticks) * 52 <= room:
            return ticks
    return ticks


def levels(low: float, high: float, room: float) -> list[float]:
    """Round tick values between two levels, at least 34 pixels apart."""
    step = next((s for s in STEPS if (high - low) / s * 34 <= room), STEPS[-1])
    first = math.ceil(low / step - 1e-9)
    return [round(i * step, 6) for i in range(first, math.floor(high / step + 1e-9) + 1)]
