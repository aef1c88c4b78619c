"""The energy that the machine's processors have used, where Linux tells it (RAPL in powercap).

Whole packages: everything that ran on them meanwhile is in it, memory mostly and graphics cards never.
Most systems let only root read these counters. Knows nothing of what was running.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

POWERCAP = Path("/sys/class/powercap")
MICRO = 1e-6


@dataclass(frozen=True, kw_only=True)
class Counters:
    """Microjoules of each package so far, and where each begins again at 0."""

    used: Mapping[str, int]
    wraps: Mapping[str, int]


def read(root: Path = POWERCAP) -> Counters | None:
    """The counters of every processor package; None where there are none or they may not be read."""
    used, wraps = {}, {}
    for zone in sorted(root.glob("intel-rapl:*")):
        try:
            if (zone / "name").read_text().startswith("package"):
                used[zone.name] = int((zone / "energy_uj").read_text())
                wraps[zone.name] = int((zone / "max_energy_range_uj").read_text())
        except (OSError, ValueError):
            return None
    return Counters(used=used, wraps=wraps) if used else None


def joules(before: Counters | None, after: Counters | None) -> float | None:
    """What was used between two readings, less than one round of a counter apart; None where not told."""
    if before is None or after is None or before.used.keys() != after.used.keys():
        return None
    spent = 0
    for name, start in before.used.items():
        gone = after.used[name] - start
        spent += gone if gone >= 0 else gone + before.wraps[name]
    return spent * MICRO
