"""The prefix that is kept between calls: what stays of it when a prefill fails."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from smallworks.engines.scoring import Ids, Scorer

START = tuple(range(100, 140))
ROWS = [(*START, 1, 2), (*START, 3, 4)]


class Short(Scorer):
    """Keeps the ids themselves for their keys and values; has no memory for its first `failing` prefills."""

    def __init__(self, failing: int) -> None:
        super().__init__()
        self._failing = failing

    def prefill(self, ids: Ids) -> tuple[int, ...]:
        if self._failing:
            self._failing -= 1
            raise MemoryError
        return tuple(ids)

    def logits(self, rows: Sequence[Ids], tokens: Ids = ()) -> object:
        return self._cache


def test_a_failed_prefill_is_tried_again_by_the_next_call() -> None:
    scorer = Short(failing=1)
    with pytest.raises(MemoryError):
        scorer.prepare(ROWS)
    assert scorer.prepare(ROWS) == len(START)
    assert scorer.logits(ROWS) == START


def test_after_a_failed_prefill_the_old_prefix_is_not_taken_for_the_new_one() -> None:
    scorer = Short(failing=0)
    assert scorer.prepare(ROWS) == len(START)
    other = [(*range(200, 260), 1), (*range(200, 260), 2)]
    scorer._failing = 1
    with pytest.raises(MemoryError):
        scorer.prepare(other)
    assert scorer.prepare(other) == 60 and scorer.logits(other) == tuple(range(200, 260))
    assert scorer.prepare(ROWS) == len(START) and scorer.logits(ROWS) == START
