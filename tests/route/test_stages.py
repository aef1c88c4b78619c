"""Records become stages: how sure, right or wrong, and how much rows in groups tell."""

from dataclasses import replace

import numpy as np
import pytest

from smallworks.errors import DataError
from smallworks.route.stages import design, stages_of
from smallworks.types import LOSS, ExampleId, Record


def record(number: int, right: bool, sure: float | None = 0.8) -> Record:
    return Record(
        example_id=ExampleId(f"r{number}"),
        prompt_hash="",
        expected="a",
        raw="a" if right else "b",
        parsed="a" if right else "b",
        lenient="a" if right else "b",
        scores={"accuracy": float(right)},
        tokens_in=0,
        tokens_out=0,
        ms=1.0,
        probabilities=None if sure is None else {"a": sure, "b": 1 - sure},
    )


CHEAP = [record(0, True, 0.9), record(1, False, 0.3)]


def test_a_stage_is_as_sure_as_its_likeliest_label() -> None:
    first, last = stages_of([CHEAP, CHEAP], ["a", "b"], [1.0, 2.0], [3.0, 4.0])
    assert np.allclose(first.confidence, [0.9, 0.7]) and first.score.tolist() == [1.0, 0.0]
    assert (last.cost, last.ms) == (2.0, 4.0)


def test_only_the_last_stage_may_be_without_probabilities() -> None:
    unsure = [record(0, True, None), record(1, True, None)]
    assert stages_of([CHEAP, unsure], ["a", "b"], [1, 2], [1, 2])[1].confidence.tolist() == [1, 1]
    with pytest.raises(DataError, match="'a' gives no probabilities"):
        stages_of([unsure, CHEAP], ["a", "b"], [1, 2], [1, 2])


@pytest.mark.parametrize("other", [CHEAP[:1], CHEAP[::-1], [CHEAP[0], replace(CHEAP[1], expected="b")]])
def test_stages_of_other_rows_are_refused(other: list[Record]) -> None:
    with pytest.raises(DataError, match="same rows"):
        stages_of([CHEAP, other], ["a", "b"], [1, 2], [1, 2])


def test_one_stage_is_no_cascade() -> None:
    with pytest.raises(DataError, match="one stage"):
        stages_of([CHEAP], ["a"], [1], [1])


@pytest.mark.parametrize(
    ("groups", "said"), [([], 1), (["", ""], 1), (["a"] * 4, 4), (["a", "a", "", ""], 1.5)]
)
def test_rows_of_one_group_tell_less(groups: list[str], said: float) -> None:
    assert design(groups) == said


def test_what_was_kept_back_as_out_of_scope_always_goes_on() -> None:
    kept = replace(CHEAP[0], scores={"accuracy": 1.0, LOSS: 1.0})
    first, _ = stages_of([[kept, CHEAP[1]], CHEAP], ["a", "b"], [1.0, 2.0], [3.0, 4.0])
    assert np.allclose(first.confidence, [-1.0, 0.7])
