"""A place is a file, or an address of PostgreSQL; what looks like neither makes no file."""

from __future__ import annotations

from pathlib import Path

import pytest

from smallworks.errors import UserError
from smallworks.rag.opening import is_shared, told


def test_an_address_is_told_from_a_file() -> None:
    assert is_shared("postgresql://h/d") and is_shared("POSTGRES://h/d")
    assert not is_shared("i.sqlite") and not is_shared(Path("i.sqlite"))


def test_the_scheme_may_be_written_large() -> None:
    pytest.importorskip("psycopg")
    assert told("POSTGRESQL://u:geheim@h/d") == "postgresql://u@h/d?schema=smallworks_index"


@pytest.mark.parametrize(
    "place",
    ["host=h password=geheim", "PASSWORD = geheim host=h", "mysql://u:geheim@h/d", " postgresql://geheim"],
)
def test_what_is_neither_is_refused_in_silence(place: str) -> None:
    with pytest.raises(UserError, match="neither a file nor") as caught:
        is_shared(place)
    assert "geheim" not in str(caught.value)
