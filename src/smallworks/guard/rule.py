"""One rule of a policy: what it looks for, where, and what it then does. Values alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from smallworks.errors import GuardBlocked
from smallworks.text.personal import PersonalKind

Where = Literal["in", "out", "both"]
Side = Literal["in", "out"]
Action = Literal["block", "mask", "replace", "strip", "flag"]


@dataclass(frozen=True)
class Patterns:
    """Regular expressions in RE2's syntax."""

    patterns: tuple[str, ...]


@dataclass(frozen=True)
class Words:
    """Words and phrases: whole words, in any case, with any white space between them."""

    words: tuple[str, ...]


@dataclass(frozen=True)
class Length:
    """More than so many characters: of all texts of a request, or of one answer."""

    characters: int


@dataclass(frozen=True)
class Tokens:
    """More than so many tokens of the model that is asked, in all texts of a request."""

    tokens: int


@dataclass(frozen=True)
class Unseen:
    """Characters that nobody sees, or that turn the reading direction."""


@dataclass(frozen=True)
class Personal:
    """Personal data of some kinds."""

    kinds: frozenset[PersonalKind]


@dataclass(frozen=True)
class Orders:
    """Orders to a model in untrusted fields; these are blocked unread beyond so many `characters`."""

    characters: int


@dataclass(frozen=True)
class Labelled:
    """A bundle that labels the text, and the labels that count from a probability on."""

    bundle: Path
    labels: frozenset[str]
    at_least: float
    seconds: float
    fail: Literal["open", "closed"]


Looks = Patterns | Words | Length | Tokens | Unseen | Personal | Orders | Labelled


@dataclass(frozen=True, kw_only=True)
class Rule:
    name: str
    looks: Looks
    action: Action
    where: Where = "both"
    instead: str = ""
    """What `replace` puts in the place of a find."""
    restore: bool = False
    """Whether what was masked on the way in is put back into the answer."""
    message: str = ""
    """The operator's own words to a client that is blocked."""
    label: str = ""
    """The word in this rule's pseudonyms: <LABEL_1>."""

    def on(self, side: Side) -> bool:
        return self.where in (side, "both")


@dataclass(frozen=True, kw_only=True)
class Policy:
    rules: tuple[Rule, ...] = ()
    untrusted: frozenset[str] = frozenset({"tool", "function", "documents"})
    """Roles and fields whose texts were written by strangers."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """What one rule found on one side of one request. Never what stood there."""

    rule: str
    action: Action
    side: Side
    count: int = 1


def blocked(rule: Rule, side: Side, why: str, *, param: str | None = None) -> GuardBlocked:
    """The error that says which rule stops a request or an answer, and why, without the text."""
    what = "request" if side == "in" else "answer"
    usual = "Leave that out and ask again." if side == "in" else "Ask for something else."
    return GuardBlocked(
        f"The rule '{rule.name}' does not let the {what} through: {why}.",
        fix=rule.message or usual,
        rule=rule.name,
        side=side,
        param=param,
    )
