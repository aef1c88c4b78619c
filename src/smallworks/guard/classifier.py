"""A labelling bundle as a guard: its label and probability of a text, in threads of its own, in time or not.

A text that is not judged in time, or on which the bundle fails, counts as the rule says: let through where it
fails open, held where it fails closed.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from smallworks.bundle import open_bundle as open_checked
from smallworks.engines.opening import open_bundle
from smallworks.errors import UserError, nearest
from smallworks.guard.rule import Labelled, Rule
from smallworks.types import Answer

WORKERS = 2
MOST = 64
"""Judgements under way or waiting; more fail at once, so that a slow bundle does not pile up work."""


class Classifier:
    """Raises UserError for a bundle that does not label, or has no such label."""

    def __init__(self, rule: Rule, looks: Labelled) -> None:
        check(rule, looks)
        self.rule, self.looks = rule, looks
        self._predictor = open_bundle(looks.bundle)
        self._pool = ThreadPoolExecutor(WORKERS, "guard")
        self._places = threading.BoundedSemaphore(MOST)

    def judge(self, texts: Sequence[str]) -> Future[list[Answer]]:
        """The texts' labels, as one batch. A future that fails where too many are under way."""
        if not self._places.acquire(blocking=False):
            refused: Future[list[Answer]] = Future()
            refused.set_exception(TimeoutError())
            return refused
        future = self._pool.submit(self._predictor.answers, list(texts))
        future.add_done_callback(lambda _: self._places.release())
        return future

    def count(self, answers: Sequence[Answer]) -> int:
        """How many of them carry a label that counts, surely enough."""
        looks = self.looks
        return sum(
            sum(share for label, share in (answer.probabilities or {}).items() if label in looks.labels)
            >= looks.at_least
            for answer in answers
        )

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._predictor.close()


def check(rule: Rule, looks: Labelled) -> None:
    """What can be told of the bundle without its engine. Raises UserError."""
    choices = open_checked(looks.bundle).manifest.prompt.choices
    labels = choices.labels if choices else ()
    wrong = next((label for label in sorted(looks.labels) if label not in labels), None)
    if wrong is None:
        return
    if not labels:
        raise UserError(
            f"The rule '{rule.name}' takes '{looks.bundle}' for a classifier, and it gives no labels.",
            fix="Name a bundle that classifies.",
        )
    raise UserError(
        f"The rule '{rule.name}' waits for the label '{wrong}', which '{looks.bundle}' does not give.",
        fix=nearest(wrong, labels),
    )
