"""The picture of a tuning: what was kept is ringed, and every validation is drawn."""

from __future__ import annotations

import re

from smallworks.recipes import curves
from smallworks.tune.options import Point

LABELS = (
    Point(step=10, train_loss=2.0, val_loss=1.0, label_loss=1.0),
    Point(step=20, train_loss=1.0, val_loss=1.2, label_loss=0.8),
    Point(step=30, train_loss=0.5, val_loss=1.5, label_loss=0.9),
)


def test_the_loss_that_decided_is_drawn_and_its_least_is_ringed() -> None:
    drawn = curves.draw(LABELS)
    rings = re.findall(r'class="ring" cx="([\d.]+)" cy="([\d.]+)"', drawn)
    lines = re.findall(r'class="whisker f1" x1="[\d.]+" y1="[\d.]+" x2="([\d.]+)" y2="([\d.]+)"', drawn)
    assert len(lines) == 2 and rings == lines[:1], "the second point is where the first line ends"
    assert "step 20 of 30" in curves.said(LABELS) and "0.800 nats" in curves.said(LABELS)
    assert "best temperature" in curves.said(LABELS)


def test_without_labels_the_plain_loss_decides() -> None:
    plain = tuple(Point(step=p.step, train_loss=p.train_loss, val_loss=p.val_loss) for p in LABELS)
    assert "step 10 of 30" in curves.said(plain) and "supervised tokens" in curves.said(plain)
    assert curves.deciding([Point(step=1, train_loss=1.0, val_loss=None)]) == []
