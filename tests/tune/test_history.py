"""The curve and the patience, read from the log that every checkpoint keeps."""

from __future__ import annotations

import pytest

from smallworks.tune.history import curve, deciding, exhausted
from smallworks.tune.options import Point


def test_a_point_holds_the_mean_train_loss_since_the_last_validation() -> None:
    log = [
        {"step": 1, "loss": 4.0},
        {"step": 2, "loss": 2.0},
        {"step": 2, "eval_loss": 2.5},
        {"step": 3, "loss": 1.0},
        {"step": 3, "eval_loss": 1.5},
    ]
    assert curve(log) == (
        Point(step=2, train_loss=3.0, val_loss=2.5),
        Point(step=3, train_loss=1.0, val_loss=1.5),
    )


def test_without_validation_every_logged_step_is_a_point() -> None:
    assert curve([{"step": 1, "loss": 4.0}, {"step": 1, "train_runtime": 3}]) == (
        Point(step=1, train_loss=4.0, val_loss=None),
    )


@pytest.mark.parametrize(
    ("losses", "patience", "over"),
    [
        ([3, 2, 1], 2, False),
        ([3, 1, 2], 2, False),
        ([3, 1, 2, 2], 2, True),
        ([1, 2, 0.9, 2], 2, False),
        ([1, 1, 1], 2, True),
        ([1, 2, 3, 4], 0, False),
        ([], 2, False),
    ],
)
def test_patience_runs_out_when_nothing_beats_the_best(
    losses: list[float], patience: int, over: bool
) -> None:
    assert exhausted([{"step": n, "eval_loss": loss} for n, loss in enumerate(losses)], patience) is over


def test_where_there_are_labels_their_loss_decides() -> None:
    plain, labels = [1.0, 2.0, 3.0, 4.0], [1.0, 0.9, 0.8, 0.7]
    log = [
        {"step": n, "eval_loss": loss, "eval_label_loss": label}
        for n, (loss, label) in enumerate(zip(plain, labels, strict=True))
    ]
    assert deciding([{"step": 1, "loss": 3.0}, *log]) == labels
    assert not exhausted(log, 2)
    assert exhausted([{**entry, "eval_label_loss": entry["eval_loss"]} for entry in log], 2)
    assert [point.label_loss for point in curve([{"step": 0, "loss": 5.0}, *log])] == labels
