"""What vectors take for the same, and is not: each pair by the mark that tells it; and real paraphrases."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smallworks.server.cache.agreement import agree

DIFFER = {
    "number": ("Refund 50 euros please.", "Refund 500 euros please."),
    "order of numbers": ("Convert 5 of 7.", "Convert 7 of 5."),
    "decimal": ("Send 1.5 units.", "Send 15 units."),
    "word number": ("I have two cards.", "I have three cards."),
    "ordinal": ("What was the 1st invoice?", "What was the 2nd invoice?"),
    "date": ("Is the shop open on Monday?", "Is the shop open on Tuesday?"),
    "time word": ("What did I spend yesterday?", "What did I spend today?"),
    "iso date": ("Book 2026-11-21.", "Book 2026-11-22."),
    "negation": ("The card is working.", "The card is not working."),
    "contraction": ("I can log in.", "I can’t log in."),
    "without": ("A plan with data.", "A plan without data."),
    "polarity": ("How do I enable alerts?", "How do I disable alerts?"),
    "direction": ("transfer from savings to checking", "transfer from checking to savings"),
    "lower case name": ("a flight to paris", "a flight to london"),
    "name": ("Who founded Siemens?", "Who founded Bosch?"),
    "order of names": ("Did Anna pay Bert?", "Did Bert pay Anna?"),
    "acronym": ("What is the VAT?", "What is the APR?"),
    "first word name": ("Vienna weather", "Berlin weather"),
    "quoted": ('Translate "cat".', 'Translate "dog".'),
    "identifier": ("Where is order AB-12?", "Where is order AB-13?"),
    "mail": ("Write to a@x.org.", "Write to b@x.org."),
    "question word": ("When does it open?", "Where does it open?"),
    "how much": ("How long is it?", "How much is it?"),
    "unit": ("Is it 5 kg?", "Is it 5 lb?"),
    "currency": ("Is it 5 €?", "Is it 5 $?"),
    "comparison": ("Show more than that.", "Show less than that."),
}
AGREE = [
    ("How do I reset my password?", "how do I reset the password"),
    ("My card has not arrived.", "My card hasn't arrived."),
    ("Is it 5kg?", "is it 5kg"),
    ("Refund 1,000 € please.", "Please refund 1000 EUR."),
    ("Where is order AB-12?", "Hi! Where is order ab-12?"),
    ("What's the fee?", "What is the fee?"),
    ("Who founded Siemens?", "who founded siemens?"),
]


@pytest.mark.parametrize("name", DIFFER)
def test_what_differs_is_found_from_either_side(name: str) -> None:
    one, other = DIFFER[name]
    assert not agree(one, other)
    assert not agree(other, one)


@pytest.mark.parametrize(("one", "other"), AGREE)
def test_other_words_for_the_same_agree(one: str, other: str) -> None:
    assert agree(one, other)
    assert agree(other, one)


@given(st.text(max_size=80))
def test_a_text_agrees_with_itself(text: str) -> None:
    assert agree(text, text)


@given(st.text(max_size=60), st.text(max_size=60))
def test_agreement_is_mutual(one: str, other: str) -> None:
    assert agree(one, other) == agree(other, one)


@given(st.integers(0, 10**6), st.integers(0, 10**6))
def test_numbers_that_differ_never_agree(one: int, other: int) -> None:
    assert agree(f"pay {one} now", f"pay {other} now") == (one == other)
