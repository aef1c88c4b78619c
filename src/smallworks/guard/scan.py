"""One text under the rules of one side, whole or as it grows: both come to the same, however it is cut.

What nobody sees is taken out first; then everything is looked for in one pass. Of finds that overlap, the
rule that stands first in the policy changes the text. A growing text is let out up to where a find may still
begin or end otherwise.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence

from smallworks.guard.finder import Finder, Hit, TooMany
from smallworks.guard.pseudonyms import Pseudonyms, Restorer
from smallworks.guard.rule import Labelled, Length, Orders, Personal, Rule, Side, Tokens, Unseen, blocked
from smallworks.text.personal import LEFT, plain
from smallworks.text.spans import claim
from smallworks.text.unseen import Stripper, is_suspect

SMALL = 1024
"""Characters held back up to which every piece is looked at; beyond it, when there is an eighth more."""


class Sieve:
    """The rules of one side, made ready. Safe to share."""

    def __init__(self, rules: Sequence[Rule], side: Side) -> None:
        here = [rule for rule in rules if rule.on(side)]
        self.side = side
        self.unseen = next((rule for rule in here if isinstance(rule.looks, Unseen)), None)
        self.lengths = [(rule, rule.looks.characters) for rule in here if isinstance(rule.looks, Length)]
        self.tokens = [(rule, rule.looks.tokens) for rule in here if isinstance(rule.looks, Tokens)]
        self.orders = [(rule, rule.looks) for rule in here if isinstance(rule.looks, Orders)]
        self.labelled = [(rule, rule.looks) for rule in here if isinstance(rule.looks, Labelled)]
        others = Unseen | Length | Tokens | Orders | Labelled
        self.finder = Finder([rule for rule in here if not isinstance(rule.looks, others)])

    @property
    def longest(self) -> dict[str, float]:
        """By rule, the characters of its longest find: so many may a streamed answer be held back for it."""
        names = [rule.name for rule in self.finder.rules]
        found = {names[number]: most for number, most in self.finder.longest.items()}
        if self.labelled:
            found.update({rule.name: math.inf for rule, _ in self.labelled})
        return found

    def passes(self, text: str) -> bool:
        """Whether a whole text comes out as it is, and nothing is found in it: most do, told in two looks."""
        if self.lengths and self.side == "out":
            return False
        return not (self.unseen and is_suspect(text)) and not self.finder.any(text)

    @property
    def idle(self) -> bool:
        """Whether no rule is for this side."""
        return not (
            self.unseen or self.lengths or self.tokens or self.orders or self.labelled or self.finder.rules
        )


class Scan:
    """One text. `found` counts what each rule found in it, by its name."""

    def __init__(self, sieve: Sieve, pseudonyms: Pseudonyms, found: Counter[str]) -> None:
        self._sieve, self._pseudonyms, self._found = sieve, pseudonyms, found
        self._stripper = Stripper() if sieve.unseen else None
        self._text, self._from = "", 0
        self._size = self._look_at = 0

    def push(self, text: str) -> str:
        """What is sure. Raises GuardBlocked."""
        text = self._stripped(text, end=False)
        self._measure(text)
        self._text += text
        if len(self._text) - self._from < self._look_at:
            return ""
        return self._let_out(end=False)

    def whole(self, text: str) -> str:
        """All of a text that does not grow. Raises GuardBlocked."""
        text = self._stripped(text, end=False) + self._stripped("", end=True)
        self._measure(text)
        self._text = text
        return self._let_out(end=True)

    def end(self) -> str:
        """The rest. Raises GuardBlocked."""
        text = self._stripped("", end=True)
        self._measure(text)
        self._text += text
        return self._let_out(end=True)

    def _stripped(self, text: str, *, end: bool) -> str:
        rule, stripper = self._sieve.unseen, self._stripper
        if rule is None or stripper is None:
            return text
        before = stripper.count
        shown = stripper.end() if end else stripper.push(text)
        if count := stripper.count - before:
            self._note(rule, count, "it holds characters that nobody sees")
        return text if rule.action == "flag" else shown

    def _measure(self, text: str) -> None:
        self._size += len(text)
        if self._sieve.side == "out":
            check_length(self._sieve, self._size, self._found)

    def _let_out(self, *, end: bool) -> str:
        finder, text, start = self._sieve.finder, self._text, self._from
        if not finder.rules:
            self._text = ""
            return text
        limit = len(text) if end else finder.undecided(text, start)
        try:
            hits = [hit for hit in finder.hits(text, start) if hit.start < limit]
        except TooMany as many:
            rule = finder.rules[many.rule]
            raise blocked(rule, self._sieve.side, "what it looks for stands there too often") from None
        if end and not hits:
            return text[start:]
        cut = limit if end else _cut(limit, hits, finder.looked_at(text, start))
        # What blocks does so as soon as it is sure, so that nothing behind it is shown.
        for hit in hits:
            rule = finder.rules[hit.rule]
            if hit.end <= cut or rule.action == "block":
                self._note(rule, 1, "it holds what the rule forbids")
        shown = self._changed(text, start, cut, [hit for hit in hits if hit.end <= cut])
        kept_from = max(0, cut - LEFT - 1)
        self._text, self._from = text[kept_from:], cut - kept_from
        held = len(text) - cut
        self._look_at = 0 if held < SMALL else held + held // 8
        return shown

    def _changed(self, text: str, start: int, end: int, hits: Iterable[Hit]) -> str:
        """`text[start:end]` with what the rules put in the place of their finds."""
        rules = self._sieve.finder.rules
        changing = [hit for hit in hits if rules[hit.rule].action in ("mask", "replace")]
        if not changing:
            return text[start:end]
        claimed: list[Hit] = []
        for hit in sorted(changing, key=lambda hit: (hit.rule, hit.start)):
            claim(claimed, hit)
        parts, done = [], start
        for hit in claimed:
            parts += [text[done : hit.start], self._instead(rules[hit.rule], hit, text[hit.start : hit.end])]
            done = hit.end
        return "".join([*parts, text[done:end]])

    def _instead(self, rule: Rule, hit: Hit, value: str) -> str:
        if rule.action == "replace":
            return rule.instead
        label, same = rule.label, value
        if isinstance(rule.looks, Personal):
            label, same = hit.kind, plain(hit.kind, value)  # type: ignore[arg-type]
        restore = rule.restore and self._sieve.side == "in"
        return self._pseudonyms.of(label, same, value, restore=restore)

    def _note(self, rule: Rule, count: int, why: str) -> None:
        if rule.action == "block":
            raise blocked(rule, self._sieve.side, why)
        self._found[rule.name] += count


def check_length(sieve: Sieve, characters: int, found: Counter[str]) -> None:
    """Raises GuardBlocked for more than a rule allows."""
    for rule, most in sieve.lengths:
        if characters > most:
            if rule.action == "block":
                raise blocked(rule, sieve.side, f"it has more than {most:,} characters")
            found[rule.name] = 1


class Outward:
    """An answer's text on its way out: scanned, then originals put back in the place of their pseudonyms."""

    def __init__(self, sieve: Sieve, pseudonyms: Pseudonyms, found: Counter[str], *, escaped: bool) -> None:
        self._scan = None if sieve.idle else Scan(sieve, pseudonyms, found)
        self._restorer = Restorer(pseudonyms, escaped=escaped)

    def push(self, text: str) -> str:
        return self._restorer.push(self._scan.push(text) if self._scan else text)

    def whole(self, text: str) -> str:
        text = self._scan.whole(text) if self._scan else text
        return self._restorer.push(text) + self._restorer.end()

    def end(self) -> str:
        rest = self._restorer.push(self._scan.end()) if self._scan else ""
        return rest + self._restorer.end()


def _cut(limit: int, hits: Sequence[Hit], looked_at: Iterable[tuple[int, int]]) -> int:
    """The last place up to `limit` that is inside nothing that was found or looked at."""
    places = sorted([*((hit.start, hit.end) for hit in hits), *looked_at])
    first = last = 0
    for start, end in places:
        if start >= limit:
            break
        first = start if start >= last else first
        last = max(last, end)
    return first if last > limit else limit
