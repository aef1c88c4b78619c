"""Pure readings of a training's log: the curve, when patience ran out. Knows no trainer.

The log is TRL's: entries with `step` and `loss` (a training step) or `eval_loss` (a validation). It is
kept in every checkpoint, so what is read from it survives a kill.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from smallworks.tune.options import Point

Entry = Mapping[str, Any]
LOSS, LABEL_LOSS = "eval_loss", "eval_label_loss"
"""What the log calls the loss of a validation, and that of its labels at its best temperature.

The second decides where there are labels: a model that learns few rows by heart grows too sure of itself,
and its plain loss rises while its answers still improve. The temperature is fitted in the end anyway.
"""


def curve(log: Iterable[Entry]) -> tuple[Point, ...]:
    """One point per validation, or per logged step where there are none."""
    log = list(log)
    if not any(LOSS in entry for entry in log):
        return tuple(Point(step=e["step"], train_loss=e["loss"], val_loss=None) for e in log if "loss" in e)
    points, losses = list[Point](), list[float]()
    for entry in log:
        if "loss" in entry:
            losses.append(entry["loss"])
        if LOSS in entry:
            mean = sum(losses) / len(losses) if losses else points[-1].train_loss
            label = entry.get(LABEL_LOSS)
            points.append(Point(step=entry["step"], train_loss=mean, val_loss=entry[LOSS], label_loss=label))
            losses = []
    return tuple(points)


def deciding(log: Iterable[Entry]) -> list[float]:
    """What the validations are compared by, in their order; the least is the best."""
    log = list(log)
    name = LABEL_LOSS if any(LABEL_LOSS in entry for entry in log) else LOSS
    return [entry[name] for entry in log if name in entry]


def exhausted(log: Iterable[Entry], patience: int) -> bool:
    """Whether the last `patience` validations all failed to beat the best one before them."""
    losses = deciding(log)
    if not patience or len(losses) <= patience:
        return False
    return losses.index(min(losses)) < len(losses) - patience
