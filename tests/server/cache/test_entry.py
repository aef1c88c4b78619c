"""What was written is read back; anything else is found out, never taken for an answer."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smallworks.server.cache.entry import Foreign, Kept, pack, unpack

KEY = bytes(range(32))
KEPT = Kept(b'{"choices":[]}', 2e9, 7, 3)


@given(st.binary(max_size=200), st.integers(0, 2**32 - 1), st.floats(0, 1e11))
def test_an_entry_comes_back_as_it_was(body: bytes, tokens: int, expires: float) -> None:
    kept = Kept(body, expires, tokens, tokens)
    assert unpack(KEY, pack(KEY, kept)) == kept


@given(st.data())
def test_a_changed_byte_of_the_answer_is_found(data: st.DataObject) -> None:
    written = bytearray(pack(KEY, KEPT))
    at = data.draw(st.integers(len(written) - len(KEPT.body), len(written) - 1))
    written[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(Foreign):
        unpack(KEY, bytes(written))


def test_an_entry_of_another_key_is_foreign() -> None:
    with pytest.raises(Foreign):
        unpack(bytes(32), pack(KEY, KEPT))


def test_another_version_is_foreign() -> None:
    with pytest.raises(Foreign):
        unpack(KEY, b"SWRC\x00" + pack(KEY, KEPT)[5:])


@given(st.binary(max_size=80))
def test_garbage_is_foreign(written: bytes) -> None:
    with pytest.raises(Foreign):
        unpack(KEY, written)


def test_every_cut_is_found() -> None:
    whole = pack(KEY, KEPT)
    for length in range(len(whole)):
        with pytest.raises(Foreign):
            unpack(KEY, whole[:length])
