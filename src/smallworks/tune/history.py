"""Pure readings of a training's log: the curve, when patience ran out. Knows no trainer.

The log is TRL's: entries with `step` and `loss` (a training step) or `eval_loss` (a validation). It is
kept in every checkpoint, so what is read from it survives a kill.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from smallworks.tune.options import Point

Entry = Mapping[str, Any]


def curve(log: Iterable[Entry]) -> tuple[Point, ...]:
    """One point per validation, or per logged step where there are none."""
    log = list(log)
    if not any("eval_loss" in entry for entry in log):
        return tuple(Point(step=e["step"], train_loss=e["loss"], val_loss=None) for e in log if "loss" in e)
    points, losses = list[Point](), list[float]()
    for entry in log:
        if "loss" in entry:
            losses.append(entry["loss"])
        if "eval_loss" in entry:
            mean = sum(losses) / len(losses) if losses else points[-1].train_loss
            points.append(Point(step=entry["step"], train_loss=mean, val_loss=entry["eval_loss"]))
            losses = []
    return tuple(points)


def exhausted(log: Iterable[Entry], patience: int) -> bool:
    """Whether the last `patience` validations all failed to beat the best one before them."""
    losses = [entry["eval_loss"] for entry in log if "eval_loss" in entry]
    if not patience or len(losses) <= patience:
        return False
    return losses.index(min(losses)) < len(losses) - patience
