"""Labels for several requests in one pass of the engine: whatever waits when it becomes free goes along.

Nobody is made to wait for company, and each request keeps its own ticket, cancel and failure: when a pass
fails, its requests are answered one by one, so that only the one that broke it fails. Knows no HTTP.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Event
from typing import Any

from smallworks.engines.predictor import Inputs, Predictor
from smallworks.server.ask import Asks, Batch, Work
from smallworks.server.meters import BundleMeters
from smallworks.server.ticket import Ticket
from smallworks.types import Answer

MOST_ROWS = 64
"""Rows of a pass that several requests share; a request of its own may have more."""
MOST_TOKENS = 65_536
"""Tokens of such a pass, each prompt at its largest: what joins late must not hold up those before it."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Labelling:
    """What one request wants labelled, in line. Called, it is answered by itself."""

    rows: tuple[Inputs, ...]
    predictor: Predictor
    ticket: Ticket
    cancel: Event

    def __call__(self) -> list[Answer]:
        self.ticket.begin()
        return self.told(self.predictor.answers(self.rows))

    def told(self, answers: list[Answer]) -> list[Answer]:
        self.ticket.answered(*answers)
        return answers


class Passes:
    """Of one bundle that labels. Implements turns.Together."""

    def __init__(self, meters: BundleMeters) -> None:
        self._meters = meters

    def joins(self, taken: Sequence[Callable[[], Any]], other: Callable[[], Any]) -> bool:
        works = [work for work in (*taken, other) if isinstance(work, Labelling)]
        rows, tokens = sum(len(work.rows) for work in works), sum(work.ticket.tokens for work in works)
        return len(works) == len(taken) + 1 and rows <= MOST_ROWS and tokens <= MOST_TOKENS

    def run(self, works: Sequence[Labelling]) -> list[list[Answer] | Exception]:
        """The answers of each, or why there are none."""
        for work in works:
            work.ticket.begin()
        rows = [row for work in works for row in work.rows]
        self._meters.passed(len(works))
        try:
            answers = iter(works[0].predictor.answers(rows))
        except Exception:
            return [_alone(work) for work in works]
        return [work.told([next(answers) for _ in work.rows]) for work in works]


def rows_of(work: Work, predictor: Predictor) -> tuple[Inputs, ...]:
    """The texts that are to be labelled; none where the work is another."""
    if predictor.choices is None:
        return ()
    if isinstance(work, Batch):
        return tuple(work.items)
    return tuple(one.inputs for one in work.each) if isinstance(work, Asks) else ()


def _alone(work: Labelling) -> list[Answer] | Exception:
    """After a pass that failed: nobody pays for another's row, and who has gone for no row."""
    if work.cancel.is_set():
        return []
    try:
        return work.told(work.predictor.answers(work.rows))
    except Exception as error:  # raised again by whoever waits for it
        return error
