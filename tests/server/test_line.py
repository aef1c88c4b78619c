"""The line before a bundle: bounded by count and by tokens, and it knows who has waited longest."""

from __future__ import annotations

import pytest

from smallworks.errors import UserError
from smallworks.server.failures import Busy
from smallworks.server.line import Line
from smallworks.server.rules import Rules


def test_as_many_come_in_as_are_answered_and_may_wait() -> None:
    line = Line("tickets", 2, Rules(waiting=1))
    for who in "abc":
        line.enter(who, 1)
    with pytest.raises(Busy, match="'tickets' is full: 3 requests"):
        line.enter("d", 1)
    line.leave("b", 1, None)
    line.enter("d", 1)


def test_tokens_are_bounded_as_well_and_come_back() -> None:
    line = Line("tickets", 8, Rules(tokens=100))
    line.enter("a", 60)
    with pytest.raises(Busy, match="holds 60 tokens of 100, and this request may take 41"):
        line.enter("b", 41)
    line.leave("a", 60, 0.1)
    line.enter("b", 41)


def test_a_request_larger_than_the_line_comes_in_alone() -> None:
    line = Line("tickets", 8, Rules(tokens=100))
    line.enter("large", 500)
    with pytest.raises(Busy):
        line.enter("small", 1)
    line.leave("large", 500, 1.0)
    line.enter("small", 1)
    with pytest.raises(Busy):
        line.enter("large", 500)


def test_who_waits_is_counted_until_the_engine_takes_it_up() -> None:
    line = Line("tickets", 1, Rules())
    assert (line.waiting(), line.age()) == (0, 0.0)
    line.enter("a", 5)
    line.enter("b", 5)
    assert (line.waiting(), line.tokens()) == (2, 10)
    waited = line.begin("b")
    assert line.age() > waited > 0
    assert line.waiting() == 1
    line.leave("a", 5, None)
    assert line.waiting() == 0


@pytest.mark.parametrize(("seconds", "told"), [([], 1), ([0.01], 1), ([9.0] * 3, 14)])
def test_a_full_line_tells_how_long_its_own_answers_take(seconds: list[float], told: int) -> None:
    line = Line("tickets", 2, Rules(waiting=2))
    for took in seconds:
        line.enter("x", 1)
        line.leave("x", 1, took)
    for who in "abcd":
        line.enter(who, 1)
    with pytest.raises(Busy) as refusal:
        line.enter("e", 1)
    assert refusal.value.seconds == told  # 3 more answers on 2 places, at 9 s each


@pytest.mark.parametrize(
    "wrong", [{"waiting": -1}, {"tokens": 0}, {"deadline": 0}, {"deadline": float("nan")}]
)
def test_rules_that_let_nothing_through_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(UserError, match=r"--queue|--deadline"):
        Rules(**wrong)  # type: ignore[arg-type]


def test_one_key_cannot_fill_the_line_for_the_others() -> None:
    line = Line("tickets", 1, Rules(waiting=16, tokens=1600))
    for number in range(15):
        line.enter(number, 1, "crowd")
    with pytest.raises(Busy, match="15 requests"):
        line.enter("one more", 1, "crowd")
    line.enter("newcomer", 1, "other")
    with pytest.raises(Busy):
        line.enter("its second", 1, "other")
    line.begin("newcomer")
    line.enter("again", 1, "other")  # nobody of its own waits


def test_the_last_tokens_of_the_line_are_kept_as_well() -> None:
    line = Line("tickets", 1, Rules(waiting=16, tokens=1600))
    line.enter("a", 1300, "crowd")
    with pytest.raises(Busy, match="1,300 tokens of 1,400"):
        line.enter("b", 101, "crowd")
    line.enter("c", 300, "other")
