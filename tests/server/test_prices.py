"""Money in whole micro-dollars: exact, rounded up, and written as people write it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smallworks.errors import UserError
from smallworks.server.meters import Meters
from smallworks.server.prices import (
    FREE,
    Flagship,
    Price,
    Tariff,
    check_flagships,
    check_priced,
    dollars,
    listed,
    micros,
    replaced,
)
from smallworks.types import Answer, Spent

tokens = st.integers(0, 10**7)
amounts = st.decimals(0, 1000, places=6)


def test_dollars_per_million_tokens_are_micro_dollars_a_token() -> None:
    price = Price.of(2.5, 10)
    assert price.cost(1_000_000, 0) == 2_500_000
    assert price.cost(3, 2) == 28  # 7.5 + 20, rounded up
    assert Price.of(0.15, 0.6).cost(1, 0) == 1
    assert FREE.cost(10**9, 10**9) == FREE.most(10**9) == 0


@given(amounts, amounts, tokens, tokens)
def test_no_answer_costs_more_than_was_held_for_it(
    first: float, second: float, tokens_in: int, tokens_out: int
) -> None:
    price = Price.of(first, second)
    assert price.cost(tokens_in, tokens_out) <= price.most(tokens_in + tokens_out)


@given(st.lists(st.tuples(st.sampled_from(["free", "one", "two"]), tokens, tokens), max_size=5))
def test_no_cascade_costs_more_than_was_held_for_it(parts: list[tuple[str, int, int]]) -> None:
    tariff = Tariff(stages={"one": Price.of(0.15, 9), "two": Price.of(2.5, 0.6)})
    spent = tuple(Spent(*part) for part in parts)
    tokens_in, tokens_out = sum(p.tokens_in for p in spent), sum(p.tokens_out for p in spent)
    answer = Answer(text="", tokens_in=tokens_in, tokens_out=tokens_out, ms=0.0, spent=spent)
    most = tariff.dearest.most(2 * (tokens_in + tokens_out))
    assert tariff.cost([answer, answer]) <= most
    assert Tariff(FREE, {}).cost([answer]) == 0 and Tariff(FREE, {}).dearest is FREE


@given(st.integers(1, 10**13))
def test_an_amount_is_written_and_read_back_exactly(amount: int) -> None:
    assert micros(dollars(amount).replace(",", "")) == amount


@pytest.mark.parametrize(
    ("amount", "told"), [(0, "0.00"), (12_500_000, "12.50"), (375, "0.000375"), (-5_000_000, "-5.00")]
)
def test_dollars_have_at_least_two_decimals(amount: int, told: str) -> None:
    assert dollars(amount) == told


@pytest.mark.parametrize("wrong", ["", "five", "-1", "0", "0.0000001", "nan", "inf", "1e400"])
def test_what_is_no_amount_is_refused(wrong: str) -> None:
    with pytest.raises(UserError, match="no amount of dollars"):
        micros(wrong)


@pytest.mark.parametrize("wrong", [-1, float("nan"), 2e6])
def test_what_is_no_price_is_refused(wrong: float) -> None:
    with pytest.raises(UserError, match="is no price"):
        Price.of(wrong, 0)


def test_a_flagships_bundle_brings_its_price() -> None:
    assert listed({"input_price": 2.5, "output_price": 10}) == Price.of(2.5, 10)
    assert listed({}) is listed({"input_price": 1.0}) is FREE


def test_any_name_of_a_model_finds_its_price() -> None:
    price = Price.of(1, 2)
    meters = Meters({"tickets": price})
    assert meters.price(("tickets-linear-0123abcd", "tickets"), FREE) is price
    assert meters.price(("others",), FREE) is FREE


def test_a_price_of_nothing_that_is_served_is_refused() -> None:
    check_priced(["tickets"], ["tickets", "*"])
    with pytest.raises(UserError, match=r"prices\.ticket") as refused:
        check_priced(["ticket"], iter(["tickets"]))
    assert "Did you mean 'tickets'?" in str(refused.value)


def test_a_task_tells_its_bundles_what_they_replace() -> None:
    lineage = {"flagship": "big", "flagship_input_price": 2.5, "flagship_output_price": 10}
    assert replaced(lineage) == Flagship(Price.of(2.5, 10))
    assert replaced({**lineage, "flagship_per_1000": 0.7}) == Flagship(Price.of(2.5, 10), 700)
    assert replaced({}) is None and listed(lineage) is FREE
    unpriced = {**lineage, "flagship_input_price": 0.0, "flagship_output_price": 0.0}
    assert replaced(unpriced) is None, "[flagships.default] knows better"
    assert replaced({**unpriced, "flagship_per_1000": 0.7}) == Flagship(FREE, 700)


def test_the_flagship_of_a_bundle_is_that_of_its_name_before_its_own_and_the_usual_one() -> None:
    named, own, usual = (Flagship(Price.of(n, n)) for n in (1, 2, 3))
    meters = Meters(flagships={"tickets": named, "default": usual})
    assert meters.replaces(("tickets-linear-0123abcd", "tickets"), own) is named
    assert meters.replaces(("others",), own) is own
    assert meters.replaces(("others",), None) is usual
    assert Meters().replaces(("others",), None) is None


def test_a_flagship_of_nothing_that_is_served_is_refused() -> None:
    check_flagships(["default", "tickets"], ["tickets"])
    with pytest.raises(UserError, match=r"flagships\.ticket\]"):
        check_flagships(["ticket"], ["tickets"])
