"""All patterns, word lists and personal data of one side in one pass: first whether anything is there at all.

RE2 takes time in proportion to the text, whatever the pattern; a pattern cannot hang the server.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from smallworks.errors import UserError
from smallworks.guard.partial import anchored, beginnings
from smallworks.guard.rule import Patterns, Personal, Rule, Words
from smallworks.text import personal

MEMORY = 64 * 2**20
"""Bytes that one compiled pattern may take at most."""
MOST = 1000
NO_LETTER = r"[^\p{L}\p{N}\p{M}_]"
_ANY_PERSONAL = re.compile(r"[\d@]|:[0-9A-Fa-f]{0,4}:")


@dataclass(frozen=True)
class Hit:
    """`text[start:end]` is what the rule number `rule` looks for. `kind` is that of personal data."""

    rule: int
    start: int
    end: int
    kind: str = ""


@dataclass(frozen=True)
class _One:
    """A compiled pattern of one rule; `group` is what is found: 1 where a letter around it is looked at."""

    rule: int
    pattern: Any
    group: int
    most: float
    """Finds that are looked for: of a pattern without a longest match each may take the whole text."""


class TooMany(Exception):
    """A pattern without a longest match was found more often than it is looked for."""

    def __init__(self, rule: int) -> None:
        super().__init__(rule)
        self.rule = rule


class Finder:
    """Raises UserError for a pattern that RE2 does not take, or that matches where nothing is."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self.rules = tuple(rules)
        self._ones: list[_One] = []
        self.longest: dict[int, float] = {}
        """Characters of the longest find of a rule."""
        self.longest.update(
            {n: personal.NEAR for n, rule in enumerate(rules) if isinstance(rule.looks, Personal)}
        )
        self._personal = [
            (number, rule.looks.kinds)
            for number, rule in enumerate(rules)
            if isinstance(rule.looks, Personal)
        ]
        sources, open_ends = [], []
        for number, rule in enumerate(rules):
            for source, group, bare in _sources(rule):
                beginning, longest = _beginnings(rule, bare)
                most = math.inf if longest is not None else MOST
                self._ones.append(_One(number, _compiled(rule, source), group, most))
                self.longest[number] = max(self.longest.get(number, 0), longest or math.inf)
                sources.append(source)
                open_ends.append(beginning)
        if self._personal:
            sources.append(personal.NEEDED)
            open_ends.append(personal.UNDECIDED)
        patterns = [one for rule in rules if isinstance(rule.looks, Patterns) for one in rule.looks.patterns]
        self.anchored = any(map(anchored, patterns))
        """Whether a pattern asks where a text begins or ends."""
        self._any = _union(sources) if sources else None
        self._each = _set(sources) if sources else None
        self._open = _union([rf"(?:{'|'.join(open_ends)})\z"]) if open_ends else None

    def any(self, text: str) -> bool:
        """Whether there may be a hit."""
        return self.any_in(_encoded(text))

    def any_in(self, encoded: bytes) -> bool:
        """Whether there may be a hit in a text, or in one of several that `encoded` holds between quotes.

        Of several only where no pattern is `anchored`: a quote is no part of a word, as the end of a text is
        none.
        """
        return self._any is not None and self._any.search(encoded) is not None

    def hits(self, text: str, start: int = 0) -> list[Hit]:
        """What the rules find from `start` on, in no order; finds of one pattern do not overlap.

        Raises TooMany.
        """
        encoded = _encoded(text)
        first = start if len(encoded) == len(text) else len(_encoded(text[:start]))
        # A word may begin at `start`: what stands before it is looked at again.
        before = first - len(_encoded(text[start - 1 : start])) if start else 0
        if not self._any or not self._any.search(encoded, before):
            return []
        spans = [
            (one.rule, span)
            for one in self._there(encoded[len(_encoded(text[: start - 2])) if start > 1 else 0 :])
            for span in _spans(one, encoded, before if one.group else first)
        ]
        found = _hits(spans, None if len(encoded) == len(text) else encoded)
        if self._personal:
            found += self._of_kinds(personal.find_from(text, start))
        return found

    def looked_at(self, text: str, start: int) -> list[tuple[int, int]]:
        """Places inside which a text may not be cut, those of hits aside."""
        if not self._personal or not _ANY_PERSONAL.search(text, start):
            return []
        return personal.looked_at(text, start)

    def undecided(self, text: str, start: int) -> int:
        """From where on a hit may still begin, grow or end otherwise when more text comes."""
        if not self._open:
            return len(text)
        encoded = _encoded(text)
        ends = self._open.search(encoded, start if len(encoded) == len(text) else len(_encoded(text[:start])))
        return len(encoded[: ends.start()].decode()) if ends else len(text)

    def _there(self, encoded: bytes) -> Sequence[_One]:
        """The patterns that a text holds at all. It begins early enough for those that look to their left."""
        # One of them is there: none at all means that RE2 had not the memory to tell.
        found = self._each.Match(encoded) if self._each else None
        return [self._ones[at] for at in sorted(found) if at < len(self._ones)] if found else self._ones

    def _of_kinds(self, spans: Sequence[personal.Span]) -> Iterator[Hit]:
        for number, kinds in self._personal:
            yield from (Hit(number, one.start, one.end, one.kind) for one in spans if one.kind in kinds)


def _hits(spans: Sequence[tuple[int, tuple[int, int]]], encoded: bytes | None) -> list[Hit]:
    """Spans of bytes, by rule, as spans of characters; `encoded` where the two differ."""
    if encoded is None:
        return [Hit(rule, *span) for rule, span in spans]
    at, place_of = 0, {}
    for before, place in pairwise([0, *sorted({place for _, span in spans for place in span})]):
        at += len(encoded[before:place].decode())
        place_of[place] = at
    return [Hit(rule, place_of[a], place_of[b]) for rule, (a, b) in spans]


def _encoded(text: str) -> bytes:
    """For RE2. Half of a surrogate pair, which has no bytes, is a sign like any other."""
    return text.encode("utf-8", "replace")


def _spans(one: _One, encoded: bytes, start: int) -> Iterator[tuple[int, int]]:
    count = 0
    while found := one.pattern.search(encoded, start):
        span = found.span(one.group)
        if span[0] < span[1]:
            yield span
            count += 1
            if count > one.most:
                raise TooMany(one.rule)
        start = max(span[1], start + 1)
        while start < len(encoded) and encoded[start] & 0xC0 == 0x80:  # inside a character
            start += 1
        if start > len(encoded):
            return


def _sources(rule: Rule) -> Iterator[tuple[str, int, str]]:
    """Patterns for RE2, the group that is the find, and the same without what stands around it."""
    if isinstance(rule.looks, Patterns):
        yield from ((pattern, 0, pattern) for pattern in rule.looks.patterns)
    elif isinstance(rule.looks, Words):
        longest_first = sorted(rule.looks.words, key=len, reverse=True)
        bare = "(?i)(?:" + "|".join(map(_phrase, longest_first)) + ")"
        yield rf"(?:\A|{NO_LETTER})({bare})(?:{NO_LETTER}|\z)", 1, bare


def _phrase(words: str) -> str:
    """The words as they stand, with any white space between them."""
    return r"\s+".join("".join(map(_quoted, part)) for part in words.split())


def _quoted(sign: str) -> str:
    return f"\\{sign}" if sign.isascii() and not sign.isalnum() else sign


def _compiled(rule: Rule, source: str) -> Any:
    import re2

    chosen = re2.Options()
    chosen.log_errors, chosen.max_mem = False, MEMORY
    try:
        pattern = re2.compile(source, chosen)
    except re2.error as error:
        said = error.args[0].decode() if isinstance(error.args[0], bytes) else str(error)
        raise UserError(
            f"The rule '{rule.name}' has a pattern that cannot be used: {said}.",
            fix="Write it in RE2's syntax (https://github.com/google/re2/wiki/Syntax): no look-around, no "
            "backreferences.",
        ) from error
    if pattern.fullmatch(b""):
        raise UserError(
            f"A pattern of the rule '{rule.name}' matches where nothing is: {source!r}.",
            fix="Write '+' for '*', or what has to be there.",
        )
    return pattern


def _beginnings(rule: Rule, source: str) -> tuple[str, int | None]:
    try:
        return beginnings(source)
    except ValueError as error:
        raise UserError(
            f"The rule '{rule.name}' has a pattern that cannot be used: {error}.",
            fix="Write it in the syntax that Python and RE2 have in common.",
        ) from error


def _set(sources: Sequence[str]) -> Any:
    """Tells in one pass which of the patterns, by their places, a text holds; None where they are too large.

    A set takes more memory than the patterns do as one, and without it each is looked for by itself.
    """
    import re2

    options = re2.Options()
    options.never_capture, options.log_errors, options.max_mem = True, False, MEMORY
    found = re2.Set.SearchSet(options)
    for source in sources:
        found.Add(source)
    try:
        found.Compile()
    except re2.error:
        return None
    return found


def _union(sources: Sequence[str]) -> Any:
    import re2

    options = re2.Options()
    options.never_capture, options.log_errors, options.max_mem = True, False, MEMORY
    try:
        return re2.compile("|".join(f"(?:{source})" for source in sources), options)
    except re2.error as error:
        raise UserError(
            f"The patterns and words of the policy are too large together: {error}.",
            fix="Shorten the longest list, or the largest repeats such as {1,500}.",
        ) from error
