"""An address that libpq takes is taken, and none shows a part of its password."""

from __future__ import annotations

import pytest

from smallworks.errors import UserError
from smallworks.postgresql import Address

pytest.importorskip("psycopg")


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:pa/geheim@h/d",
        "postgresql://u:1/geheim@h/d",
        "postgresql://u:pa@geheim@h/d",
        "postgresql://u:pa/geheim",
        "postgresql://u:pa/geheim?options=b@h/d",
        "postgresql://h?password=geheim@ss",
        "postgresql://geh/eim:x@h/d",
        "postgresql://[geheim/d",
        "postgresql://h/\udcffgeheim",
    ],
)
def test_an_address_that_could_show_its_password_is_refused_in_silence(url: str) -> None:
    with pytest.raises(UserError, match="%40, / as %2F") as caught:
        Address(url)
    assert "geh" not in str(caught.value) and "eim" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "where"),
    [
        ("postgresql://u:pa%40geh%2Feim@h:5433/d", "postgresql://h/d"),
        ("postgresql://u:p?a@h/d?options=-c%20geqo%3Doff", "postgresql://h/d"),
        ("postgresql://h/d?user=me@tenant", "postgresql://h/d"),
        ("postgresql://[::1]:5432/d", "postgresql://::1/d"),
        ("postgresql://h1:1,h2/d", "postgresql://h1,h2/d"),
        ("host=h password=a@b/c dbname=d", "postgresql://h/d"),
    ],
)
def test_others_are_taken(url: str, where: str) -> None:
    assert Address(url).where == where
