"""Personal data: what is found, what is left alone, and pseudonyms that stay the same."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smallworks.text.personal import Masker, Name, find, luhn, mod97

FOUND = [
    ("write to Ann.Lee+x@mail.example.co.uk, please", "EMAIL", "Ann.Lee+x@mail.example.co.uk"),
    ("card 4111 1111 1111 1111 was charged", "CARD", "4111 1111 1111 1111"),
    ("amex 378282246310005.", "CARD", "378282246310005"),
    ("send it to GB82 WEST 1234 5698 7654 32 today", "IBAN", "GB82 WEST 1234 5698 7654 32"),
    ("iban de89370400440532013000", "IBAN", "de89370400440532013000"),
    ("from 192.168.10.4.", "IP", "192.168.10.4"),
    ("at fe80::1ff:fe23:4567:890a now", "IP", "fe80::1ff:fe23:4567:890a"),
    ("ssn 536-22-8712", "ID", "536-22-8712"),
    ("nino AB 12 34 56 C", "ID", "AB 12 34 56 C"),
    ("dni 12345678Z", "ID", "12345678Z"),
    ("nir 2 55 08 14 168 025 38", "ID", "2 55 08 14 168 025 38"),
    ("codice RSSMRA85T10A562S", "ID", "RSSMRA85T10A562S"),
    ("+1 (555) 123-4567 is mine", "PHONE", "+1 (555) 123-4567"),
    ("reach me on 07700 900123", "PHONE", "07700 900123"),
    ("call 5551234567 after six", "PHONE", "5551234567"),
    ("905-674-3793x12", "PHONE", "905-674-3793x12"),
]
LEFT_ALONE = [
    "card 4111 1111 1111 1112 was charged",
    "send it to GB82WEST12345698765433 today",
    "version 1.2.3.4 of v10.20.30.40",
    "999.1.1.1 is no address, nor is std::vector",
    "on 2024-01-02 at 10:11:12, from 12.05.1999 to 2001",
    "order 5551234567 costs 1 000 000 or 1.250.000 in 700-1000 days",
    "call me about order number 12345678",
    "180-85-36=59 and $409500",
    "dni 12345678A",
    "me@home and @someone",
    "between 2019-2020 on Aug 26 2018",
]


@pytest.mark.parametrize(("text", "kind", "value"), FOUND)
def test_it_is_found_whole(text: str, kind: str, value: str) -> None:
    assert [(span.kind, text[span.start : span.end]) for span in find(text)] == [(kind, value)]


@pytest.mark.parametrize("text", LEFT_ALONE)
def test_what_only_looks_like_it_is_left_alone(text: str) -> None:
    assert find(text) == ()


def test_one_value_has_one_pseudonym_however_it_is_written() -> None:
    masker = Masker()
    assert masker.mask("a@b.example or c@d.example") == "<EMAIL_1> or <EMAIL_2>"
    assert masker.mask("A@B.example, 4111 1111 1111 1111") == "<EMAIL_1>, <CARD_1>"
    assert masker.mask("4111111111111111") == "<CARD_1>"


def test_a_masked_text_has_nothing_left_to_find() -> None:
    masker = Masker()
    assert [masker.mask(masked) for masked in [masker.mask(text) for text, _, _ in FOUND]] == [
        text.replace(value, f"<{kind}_{number}>")
        for text, kind, value in FOUND
        for number in [list(masker.values[kind]).index(_key(kind, value)) + 1]  # type: ignore[index]
    ]


def _key(kind: str, value: str) -> str:
    folded = value.casefold()
    return folded if kind in ("EMAIL", "IP") else "".join(c for c in folded if c.isalnum())


@given(st.text("0123456789 .-()+@:xa", max_size=60))
def test_spans_stand_in_order_and_never_overlap(text: str) -> None:
    spans = find(text)
    edges = [edge for span in spans for edge in (span.start, span.end)]
    assert edges == sorted(edges) and all(span.start < span.end for span in spans)


@pytest.mark.parametrize("unit", ["1", "1 ", "1-", "(1)", "a@", "a.", "12:", "::", "GB82 "])
def test_no_text_takes_long(unit: str) -> None:
    start = time.process_time()
    find(unit * (20_000 // len(unit)) + "@")
    assert time.process_time() - start < 5


def test_check_digits() -> None:
    assert luhn("79927398713") and not luhn("79927398710")
    assert mod97("GB82WEST12345698765432") == 1


def told(text: str) -> list[Name]:
    """A stand-in for a model, which takes what is in braces for a person, and the braces too."""
    return [Name("PERSON", *match.span()) for match in re.finditer(r"\{.*?\}", text)]


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("for {Ann Lee}, again", "for {<PERSON_1>}, again"),
        ("{Ann Lee} met {ANN  LEE} and {Anna}", "{<PERSON_1>} met {<PERSON_1>} and {<PERSON_2>}"),
        ("{Ann ann@b.example Lee}", "{<PERSON_1> <EMAIL_1> <PERSON_2>}"),
        ("{(020 7946 0018)}", "{(<PHONE_1>)}"),
        ("nobody {--}", "nobody {--}"),
    ],
)
def test_names_are_masked_around_what_patterns_find(text: str, masked: str) -> None:
    assert Masker(told).mask(text) == masked
