"""A policy with a rule of every sort that needs no bundle."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from smallworks.guard import Guards, Text
from smallworks.guard.policy import parse

Entered = Callable[..., list[str]]


@pytest.fixture
def guards_of(tmp_path: Path) -> Iterator[Callable[[str], Guards]]:
    """Makes guards of a policy's text."""
    made: list[Guards] = []

    def make(text: str) -> Guards:
        made.append(Guards(parse(text, tmp_path)))
        return made[-1]

    yield make
    for guards in made:
        guards.close()


@pytest.fixture
def entered(guards_of: Callable[[str], Guards]) -> Entered:
    """The texts of one request as a policy lets them in, each byte counted as a token."""

    def enter(policy: str, *texts: str, **how: bool) -> list[str]:
        said = [Text(text=text, place="messages.0.content", **how) for text in texts]
        return guards_of(policy).passage().enter(said, lambda text: len(text.encode()))

    return enter
