"""Read a policy file (TOML) into rules, or say in one sentence what is wrong with it. Opens no bundle."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from smallworks.errors import UserError, nearest
from smallworks.guard.rule import (
    Labelled,
    Length,
    Looks,
    Orders,
    Patterns,
    Personal,
    Policy,
    Rule,
    Tokens,
    Unseen,
    Words,
)
from smallworks.text.personal import PersonalKind

KINDS: frozenset[PersonalKind] = frozenset(get_args(PersonalKind))
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 _.-]{0,63}")
SIDES = ("in", "out", "both")
COMMON = frozenset({"name", "where", "action", "with", "restore", "message"})
ORDERS = 20_000
"""Characters of untrusted text in one request that are looked through for orders."""


@dataclass(frozen=True)
class Sort:
    """One sort of rule: the key that names it, further keys, and what it may do; the first is usual."""

    read: Callable[[_Table], Looks]
    actions: tuple[str, ...]
    keys: frozenset[str] = frozenset()
    where: tuple[str, ...] = SIDES


class _Table:
    """A table of the file, whose values are asked for by type."""

    def __init__(self, values: Mapping[str, Any], place: str, folder: Path) -> None:
        self.values, self.place, self.folder = values, place, folder

    def text(self, key: str) -> str:
        value = self.values.get(key)
        if not isinstance(value, str) or not value.strip():
            raise self.wrong(key, "is no text", "Write it in quotes.")
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        value = self.values.get(key)
        listed = [value] if isinstance(value, str) else value
        if not isinstance(listed, list) or not listed or not all(_is_text(one) for one in listed):
            raise self.wrong(key, "is no text or list of texts", f'Write {key} = ["…"].')
        return tuple(listed)

    def count(self, key: str, usual: int | None = None) -> int:
        value = self.values.get(key, usual)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise self.wrong(key, "is no whole number from 1", f"Write {key} = 1000.")
        return value

    def number(self, key: str, usual: float, most: float) -> float:
        value = self.values.get(key, usual)
        if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value <= most:
            raise self.wrong(key, f"is no number above 0 and up to {most:g}", f"Write {key} = {usual:g}.")
        return float(value)

    def switch(self, key: str) -> bool:
        value = self.values.get(key, False)
        if not isinstance(value, bool):
            raise self.wrong(key, "is neither true nor false", f"Write {key} = true.")
        return value

    def one_of(self, key: str, allowed: tuple[str, ...], usual: str) -> Any:
        value = self.values.get(key, usual)
        if value not in allowed:
            raise self.wrong(key, f"is none of {', '.join(allowed)}", nearest(str(value), allowed))
        return value

    def wrong(self, key: str, what: str, fix: str) -> UserError:
        return UserError(f"{self.place}: {key} = {self.values.get(key)!r} {what}.", fix=fix)


def load(path: Path) -> Policy:
    """Raises UserError for a file that cannot be read or is wrong, with the rule's name and the fix."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeError) as error:
        raise UserError(f"The policy '{path}' cannot be read: {error}.", fix="Check the path.") from error
    return parse(text, path.parent, str(path))


def parse(text: str, folder: Path, name: str = "policy") -> Policy:
    """`folder` is what files and bundles in the policy are relative to."""
    try:
        said = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"'{name}' is no TOML: {error}.", fix="Mend that place.") from error
    _known(said, {"rule", "untrusted"}, f"'{name}'")
    tables = said.get("rule", [])
    if not isinstance(tables, list) or not tables or not all(isinstance(one, dict) for one in tables):
        raise UserError(f"'{name}' has no rules.", fix='Begin one with [[rule]] and name = "…".')
    rules = [_rule(_Table(one, f"Rule {number}", folder)) for number, one in enumerate(tables, start=1)]
    names = [rule.name for rule in rules]
    twice = next((one for one in names if names.count(one) > 1), None)
    if twice:
        raise UserError(f"Two rules of '{name}' are called '{twice}'.", fix="Name each differently.")
    if "untrusted" not in said:
        return Policy(rules=tuple(rules))
    return Policy(
        rules=tuple(rules), untrusted=frozenset(_Table(said, f"'{name}'", folder).texts("untrusted"))
    )


def _rule(table: _Table) -> Rule:
    name = table.text("name")
    if not NAME.fullmatch(name):
        raise table.wrong("name", "is no plain name", "Use letters, digits, spaces, '-', '_' and '.'.")
    table.place = f"Rule '{name}'"
    sorts = [key for key in SORTS if key in table.values]
    if len(sorts) != 1:
        listed = ", ".join(sorts) if sorts else "nothing"
        raise UserError(
            f"{table.place} looks for {listed}.", fix=f"Give it exactly one of: {', '.join(SORTS)}."
        )
    sort = SORTS[sorts[0]]
    _known(table.values, COMMON | sort.keys | {sorts[0]}, table.place)
    action = table.one_of("action", sort.actions, sort.actions[0])
    if (action == "replace") != ("with" in table.values):
        raise UserError(f"{table.place}: 'with' and action 'replace' go together.", fix='Write with = "…".')
    if table.switch("restore") and action != "mask":
        raise table.wrong("restore", "has nothing to restore", 'It goes with action = "mask".')
    instead = table.values.get("with", "")
    if not isinstance(instead, str):
        raise table.wrong("with", "is no text", 'Write with = "…".')
    return Rule(
        name=name,
        looks=sort.read(table),
        action=action,
        where=table.one_of("where", sort.where, sort.where[-1]),
        instead=instead,
        restore=table.switch("restore"),
        message=table.text("message") if "message" in table.values else "",
        label=re.sub(r"[^A-Z0-9]+", "_", f"X_{name.upper()}" if name[0].isdigit() else name.upper()),
    )


def _words(table: _Table) -> Words:
    return _checked_words(table, "words", table.texts("words"))


def _words_file(table: _Table) -> Words:
    path = table.folder / table.text("words_file")
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeError) as error:
        raise table.wrong("words_file", f"cannot be read: {error}", "One word or phrase a line.") from error
    return _checked_words(table, "words_file", tuple(line for line in lines if line.strip()))


def _checked_words(table: _Table, key: str, words: tuple[str, ...]) -> Words:
    if not words:
        raise table.wrong(key, "holds no words", "One word or phrase a line.")
    return Words(tuple(dict.fromkeys(" ".join(word.split()) for word in words)))


def _personal(table: _Table) -> Personal:
    asked = table.texts("personal")
    if asked == ("all",):
        return Personal(KINDS)
    wrong = next((kind for kind in asked if kind not in KINDS), None)
    if wrong:
        raise table.wrong("personal", f"names no kind '{wrong}'", nearest(wrong, [*KINDS, "all"]))
    return Personal(frozenset(kind for kind in KINDS if kind in asked))


def _unseen(table: _Table) -> Unseen:
    table.one_of("unicode", ("unseen",), "unseen")
    return Unseen()


def _orders(table: _Table) -> Orders:
    table.one_of("injection", ("untrusted",), "untrusted")
    return Orders(table.count("at_most", ORDERS))


def _labelled(table: _Table) -> Labelled:
    return Labelled(
        bundle=table.folder / table.text("classifier"),
        labels=frozenset(table.texts("labels")),
        at_least=table.number("at_least", 0.5, 1.0),
        seconds=table.number("seconds", 1.0, 60.0),
        fail=table.one_of("fail", ("open", "closed"), "closed"),
    )


def _known(values: Mapping[str, Any], known: frozenset[str] | set[str], place: str) -> None:
    wrong = next((key for key in values if key not in known), None)
    if wrong:
        raise UserError(f"{place} has no key '{wrong}'.", fix=nearest(wrong, known))


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and value.strip() != ""


FINDING = ("block", "mask", "replace", "flag")
SORTS: Mapping[str, Sort] = {
    "regex": Sort(lambda table: Patterns(table.texts("regex")), FINDING),
    "words": Sort(_words, FINDING),
    "words_file": Sort(_words_file, FINDING),
    "personal": Sort(_personal, ("mask", "block", "replace", "flag")),
    "unicode": Sort(_unseen, ("strip", "block", "flag")),
    "max_characters": Sort(lambda table: Length(table.count("max_characters")), ("block", "flag")),
    "max_tokens": Sort(lambda table: Tokens(table.count("max_tokens")), ("block", "flag"), where=("in",)),
    "injection": Sort(_orders, ("block", "mask", "flag"), frozenset({"at_most"}), ("in",)),
    "classifier": Sort(_labelled, ("block", "flag"), frozenset({"labels", "at_least", "seconds", "fail"})),
}
"""The key that says what a rule looks for → its sort."""
