"""Rows that belong to no label, put to what labels: how many of them it hands over. Knows no bundle."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from smallworks.evaluate.metrics import METRICS, estimate
from smallworks.evaluate.run import run
from smallworks.types import LOSS, RECALL, Answer, Estimate, Example


def out_of_scope_recall(
    examples: Sequence[Example], answer: Callable[[Sequence[Example]], Sequence[Answer]]
) -> dict[str, Estimate]:
    """The share that was handed over, under its name; empty without rows, or where all are answered."""
    done = run(examples, answer, kind="classify")
    told = [replace(one, scores={RECALL: one.scores[LOSS]}) for one in done if LOSS in one.scores]
    return {RECALL: estimate(told, METRICS[RECALL])} if told else {}
