"""[[upstream]]: what is taken, and what is refused before anything listens."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from smallworks.errors import UserError
from smallworks.server.upstream import Server, Upstream


@pytest.mark.parametrize(
    "url",
    [
        "ftp://h/v1",
        "http://",
        "h:8000",
        "http://user:pw@h/v1",
        "http://h/v1?key=1",
        "http://h/a b",
        "http://h/\r\nx:y",
    ],
)
def test_an_address_that_cannot_be_or_carries_a_secret_is_refused(url: str) -> None:
    with pytest.raises(ValidationError):
        Server(url=url)


def test_a_name_for_metrics_holds_no_path() -> None:
    assert Server(url="https://api.example.org/v1/").name == "api.example.org"
    assert Server(url="http://[::1]:8000").name == "::1:8000"


@pytest.mark.parametrize(
    "fields", [{"models": ()}, {"models": ("a", "a")}, {"models": ("*", "a")}, {"server": ()}]
)
def test_names_and_servers_must_be_told(fields: dict[str, Any]) -> None:
    whole = {"models": ("a",), "server": ({"url": "http://h/v1"},), **fields}
    with pytest.raises(ValidationError):
        Upstream.model_validate(whole)


@pytest.mark.parametrize("value", ["with space", "two\nlines", "ké"])
def test_a_key_that_no_header_may_carry_is_refused(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INNER_KEY", value)
    with pytest.raises(UserError, match="INNER_KEY") as told:
        Server(url="http://h/v1", key_env="INNER_KEY").check()
    assert value not in str(told.value)
