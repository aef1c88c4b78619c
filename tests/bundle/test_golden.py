"""Golden rows: token ids must be equal, label probabilities near enough, and the worst one is told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from smallworks.bundle.golden import TOLERANCES, Golden, Tolerance, agree, read, write
from smallworks.types import Parity

ROWS = (
    Golden(inputs={"input": "é🎉"}, ids=(1, 2), text="bug", probabilities={"bug": 0.7, "feature": 0.3}),
    Golden(inputs={"input": "b"}, ids=(), text="feature", probabilities={"bug": 0.2, "feature": 0.8}),
    Golden(inputs={"a": "1", "b": "2"}, ids=(3,), text="free text"),
)
CLOSE = Tolerance(0.1, 1.0)


def test_golden_rows_go_to_disk_and_come_back(tmp_path: Path) -> None:
    write(tmp_path, ROWS)
    assert read(tmp_path) == ROWS


def test_a_bundle_may_have_none(tmp_path: Path) -> None:
    assert read(tmp_path) == ()
    assert agree((), (), tolerance=CLOSE).holds


def test_rows_agree_with_themselves() -> None:
    same = Parity(rows=3, ids_equal=3, texts_equal=3, worst=0.0, tolerance=0.1, holds=True)
    assert agree(ROWS, ROWS, tolerance=CLOSE) == same


@pytest.mark.parametrize(("off", "holds"), [(0.01, True), (0.099, True), (0.11, False)])
def test_the_worst_probability_decides(off: float, holds: bool) -> None:
    moved = replace(ROWS[0], probabilities={"bug": 0.7 - off, "feature": 0.3 + off})
    parity = agree(ROWS, (moved, *ROWS[1:]), tolerance=CLOSE)
    assert parity.worst == pytest.approx(off) and parity.holds is holds


def test_other_token_ids_never_agree() -> None:
    parity = agree(ROWS, (replace(ROWS[0], ids=(1, 3)), *ROWS[1:]), tolerance=Tolerance(1.0, 0.0))
    assert (parity.ids_equal, parity.texts_equal, parity.holds) == (2, 3, False)


@pytest.mark.parametrize("probabilities", [None, {"bug": 0.7}, {}])
def test_a_missing_probability_is_a_distance(probabilities: dict[str, float] | None) -> None:
    parity = agree(ROWS, (replace(ROWS[0], probabilities=probabilities), *ROWS[1:]), tolerance=CLOSE)
    assert parity.worst >= 0.3 and not parity.holds


def test_a_label_is_judged_by_its_probability_not_its_text() -> None:
    labelled = ROWS[:1]
    parity = agree(labelled, (replace(ROWS[0], text="other"),), tolerance=CLOSE)
    assert (parity.texts_equal, parity.holds) == (0, True)


def test_written_answers_must_be_equal_as_often_as_the_precision_allows() -> None:
    other = (*ROWS[:2], replace(ROWS[2], text="other"))
    assert agree(ROWS, other, tolerance=Tolerance(0.1, 0.5)).holds
    assert not agree(ROWS, other, tolerance=Tolerance(0.1, 1.0)).holds


def test_coarser_weights_are_allowed_more() -> None:
    order = [TOLERANCES[name] for name in ("f32", "f16", "q8_0", "q4_0")]
    assert [t.probability for t in order] == sorted(t.probability for t in order)
    assert [t.texts for t in order] == sorted((t.texts for t in order), reverse=True)


def test_a_label_kept_back_here_and_said_there_does_not_agree(tmp_path: Path) -> None:
    said, kept = replace(ROWS[0], abstain=False), replace(ROWS[1], abstain=True)
    write(tmp_path, (said, kept))
    assert read(tmp_path) == (said, kept)
    assert agree((said, kept), (said, kept), tolerance=CLOSE).holds
    assert not agree((said, kept), (said, replace(kept, abstain=False)), tolerance=CLOSE).holds
    assert agree((said, kept), (said, replace(kept, abstain=False)), tolerance=Tolerance(0.5, 0.0)).holds
