"""What is handed over of rows out of scope is counted; where nothing ever is, there is nothing to count."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from smallworks.evaluate.intervals import wilson
from smallworks.evaluate.metrics import kind_of, summarise
from smallworks.evaluate.run import record
from smallworks.evaluate.scope import out_of_scope_recall
from smallworks.types import LOSS, RECALL, Answer, Example, ExampleId

ROWS = [Example(id=ExampleId(str(i)), inputs={"input": f"row {i}"}, output="none") for i in range(40)]
SAID = Answer(text="bug", tokens_in=0, tokens_out=0, ms=1.0, probabilities={"bug": 0.7, "idea": 0.3})


def every_fourth(some: Sequence[Example]) -> list[Answer]:
    return [replace(SAID, abstain=int(e.id) % 4 == 0) for e in some]


def test_recall_is_the_share_handed_over_with_its_interval() -> None:
    assert out_of_scope_recall(ROWS, every_fourth) == {RECALL: wilson(10, 40)}


def test_nothing_is_said_without_rows_or_without_a_threshold() -> None:
    assert out_of_scope_recall([], every_fourth) == {}
    assert out_of_scope_recall(ROWS, lambda some: [SAID] * len(some)) == {}


def test_a_label_kept_back_is_scored_as_said_and_as_lost() -> None:
    rows = [replace(e, output="bug") for e in ROWS]
    done = [
        record(e, a, kind="classify", labels=("bug", "idea"))
        for e, a in zip(rows, every_fourth(rows), strict=True)
    ]
    found = summarise(done, kind_of(done))
    assert found["accuracy"].value == 1.0 and found[LOSS] == wilson(10, 40)
    plain = [record(e, SAID, kind="classify", labels=("bug", "idea")) for e in rows]
    assert LOSS not in summarise(plain, "classify")
