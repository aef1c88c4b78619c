"""JSON in and out says what the standard library says, whatever reads and writes it."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smallworks.server import json_bytes
from smallworks.server.wording import event

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
TEXTS = st.text(alphabet=st.characters(codec=None))  # halves of surrogate pairs too
VALUES = st.recursive(
    SCALARS | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)


@given(VALUES)
def test_what_was_written_is_read(value: Any) -> None:
    assert json.loads(json_bytes.write(value)) == value
    assert json_bytes.read(json_bytes.write(value)) == value
    assert json_bytes.read(json.dumps(value).encode()) == value


@pytest.mark.parametrize("number", [2**63, 2**64, -(2**64), 10**30])
def test_whole_numbers_stay_whole(number: int) -> None:
    read = json_bytes.read(b'{"seed":%d}' % number)
    assert read == {"seed": number} and type(read["seed"]) is int
    assert json.loads(json_bytes.write(read)) == read


def test_the_last_of_two_equal_keys_holds() -> None:
    assert json_bytes.read(b'{"model":"a","model":"b"}') == {"model": "b"}


@pytest.mark.parametrize("body", [b"", b"{", b'{"a":1} 2', b"\xff", b"\xef\xbb\xbf{}", "{}".encode("utf-16")])
def test_what_is_no_json_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError):
        json_bytes.read(body)


def test_deeper_than_any_reader_goes() -> None:
    with pytest.raises((ValueError, RecursionError)):
        json_bytes.read(b"[" * 100_000)


@given(VALUES)
def test_ascii_says_the_same(value: Any) -> None:
    written = json_bytes.write_ascii(value)
    assert written.isascii() and json.loads(written) == value


def test_numbers_that_are_none_are_null_whole_and_streamed() -> None:
    said = {"p": [math.nan, math.inf], "t": "é\u2028"}
    assert json_bytes.write(said) == '{"p":[null,null],"t":"é\u2028"}'.encode()
    assert event(said) == b'data: {"p":[null,null],"t":"\\u00e9\\u2028"}\n\n'
