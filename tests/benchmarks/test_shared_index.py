"""What is measured against PostgreSQL tells no password of it, and takes an address with settings."""

from __future__ import annotations

import pytest
from benchmarks.claim import Skipped

from benchmarks import shared_index


@pytest.mark.parametrize("address", ["postgresql://u:geheim@127.0.0.1:1/d", "HOST=h password=geheim x"])
def test_no_password_is_told(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    pytest.importorskip("psycopg")
    monkeypatch.setenv("SMALLWORKS_TEST_POSTGRES", address)
    with pytest.raises(Skipped) as caught:
        shared_index.measure(print)
    assert "geheim" not in str(caught.value) and "no PostgreSQL" in str(caught.value)


def test_a_schema_is_added_to_any_address() -> None:
    assert shared_index.in_schema("postgresql://h/d", "s") == "postgresql://h/d?schema=s"
    assert shared_index.in_schema("postgresql://h/d?a=b", "s") == "postgresql://h/d?a=b&schema=s"
