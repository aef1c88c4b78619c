"""The work of one request, in its thread."""

from __future__ import annotations

from collections.abc import Iterator
from threading import Event
from typing import Any

import pytest

from smallworks.errors import RequestError
from smallworks.server.room import _work
from smallworks.types import Answer


class Told:
    """Stands for the ticket: what it was told."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []

    def begin(self) -> None:
        pass

    def answered(self, *answers: Answer) -> None:
        self.answers += answers


class Failing:
    """One answer, and then a prompt that does not fit."""

    def most(self, _: Any) -> int:
        return 2

    def answers(self, _: Event) -> Iterator[Answer]:
        yield Answer(text="yes", tokens_in=3, tokens_out=1, ms=1.0)
        raise RequestError("The prompt is too long.", fix="Shorten it.")


def test_what_was_answered_before_a_failure_is_told() -> None:
    ticket: Any = Told()
    with pytest.raises(RequestError):
        _work(Failing(), ticket, Event())
    assert [answer.text for answer in ticket.answers] == ["yes"]
