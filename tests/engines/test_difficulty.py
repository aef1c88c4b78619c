"""What is hard for a stage is told from the input alone, and told the same from disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from smallworks.engines import difficulty

pytest.importorskip("sklearn")

EASY = [f"Please send invoice number {i} again" for i in range(40)]
HARD = [f"Le calendrier ne s'ouvre plus du tout à l'étage {i}" for i in range(40)]

ASKED = ("Please send invoice number 99 again", "Le calendrier ne s'ouvre plus du tout à l'étage 77")


def test_what_is_like_wrong_rows_is_hard(tmp_path: Path) -> None:
    found = difficulty.fit([*EASY, *HARD], [True] * 40 + [False] * 40)
    assert found
    easy, hard = (found.likely(text) for text in ASKED)
    assert easy > 0.9 and hard < 0.1
    difficulty.write(tmp_path, found)
    again = difficulty.read(tmp_path)
    assert again.likely(ASKED[0]) == easy
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".json", ".jsonl"]


def test_a_stage_that_is_always_right_has_nothing_to_learn_from() -> None:
    assert difficulty.fit(EASY, [True] * 40) is None


def test_a_row_is_judged_by_the_others() -> None:
    good = [True] * 40 + [False] * 40
    rows = difficulty.Neighbours([*EASY, *HARD], good)
    alone = difficulty.Neighbours([EASY[0], *HARD], [True] + [False] * 40)
    assert rows.features(EASY[0])[-1] == 1.0 and alone.features(EASY[0])[-1] == 0.0
    assert rows.features("")[0] == 0.0


def test_a_row_without_others_is_near_to_none() -> None:
    rows = difficulty.Neighbours([EASY[0]], [True])
    nearest, mean, good = rows.features(EASY[0])[-3:]
    assert nearest == mean == difficulty.NEAREST and good == 0.0
