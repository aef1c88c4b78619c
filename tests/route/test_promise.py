"""Promises are read from words, and say how many rows they take."""

import pytest

from smallworks.errors import UserError
from smallworks.route.promise import Promise, parse


@pytest.mark.parametrize(
    ("text", "against", "value"),
    [
        ("1 point", "last", 0.01),
        ("0.5 points", "last", 0.005),
        ("2 points below", "last", 0.02),
        ("at least 0.9", "floor", 0.9),
        ("At least 92.5 %", "floor", 0.925),
    ],
)
def test_a_promise_is_read(text: str, against: str, value: float) -> None:
    assert parse(text) == Promise(against=against, value=pytest.approx(value))  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["", "1", "a point", "0 points", "at least 90", "200 points", "-1 point"])
def test_what_is_no_promise_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(UserError, match="1 point") as refused:
        parse(text)
    assert repr(text) in str(refused.value)


def test_a_confidence_in_percent_is_refused() -> None:
    with pytest.raises(UserError, match="95"):
        parse("1 point", 95)


def test_a_promise_reads_back_in_words() -> None:
    assert str(parse("1 point")) == "at most 1 point below the last stage with 95 % confidence"
    assert str(parse("at least 0.9", 0.99)) == "at least 0.9 with 99 % confidence"


def test_rows_that_suffice_are_about_as_few_as_can_be() -> None:
    promise = parse("1 point")
    rows = promise.rows_for(0.004, 0.004, 0.9, luck=0.05)
    assert rows and promise.kept(round(0.004 * rows), round(0.004 * rows), 0, rows, luck=0.05)
    fewer = int(rows * 0.9)
    assert not promise.kept(round(0.004 * fewer), round(0.004 * fewer), 0, fewer, luck=0.05)


def test_no_number_of_rows_shows_what_is_not_so() -> None:
    assert parse("at least 0.9").rows_for(0, 0, 0.9, luck=0.05) is None
