"""From a pattern to one for its beginnings: what at the end of a growing text may still become a match.

A streamed answer is shown up to the first place from which a match may still grow, and no further. Takes the
syntax that RE2 and Python have in common. Zero-width assertions are left out, and with that the beginnings
are too many rather than too few: text is held back a little longer than it has to be, never too short.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib import import_module
from typing import Any

LONGEST = 100_000
"""Characters; a match that may get longer has no bound that is worth the name."""
_parser: Any = import_module("re._parser")
_ESCAPE = re.compile(r"\\(?:([pP](?:\{\^?\w+\}|\w)|x\{[0-9A-Fa-f]+\})|.)", re.DOTALL)
"""Its group: what RE2 alone knows."""
_FOREIGN = ("[[:", "{,", r"\Q", r"\C")
"""What Python's parser would read in another way than RE2."""
_CATEGORIES = {
    "CATEGORY_DIGIT": r"\d",
    "CATEGORY_NOT_DIGIT": r"\D",
    "CATEGORY_SPACE": r"\s",
    "CATEGORY_NOT_SPACE": r"\S",
    "CATEGORY_WORD": r"\w",
    "CATEGORY_NOT_WORD": r"\W",
}
_FLAGS = ((re.IGNORECASE, "i"), (re.DOTALL, "s"), (re.MULTILINE, "m"))


def beginnings(pattern: str) -> tuple[str, int | None]:
    """A pattern, for RE2, of the whole matches of `pattern` and all their beginnings, the empty one too.

    With it the characters of the longest match, None where there is no such. Raises ValueError with the
    reason for a pattern that cannot be read.
    """
    foreign = next((sign for sign in _FOREIGN if sign in pattern), None)
    if foreign:
        raise ValueError(f"'{foreign}' is not understood here")
    classes: list[str] = []

    def laid_aside(found: re.Match[str]) -> str:
        if found[1] is None:
            return r"\Z" if found[0] == r"\z" else found[0]
        classes.append(found[0])
        return chr(0xF0000 + len(classes) - 1)  # a private character that stands for the class

    plain = _ESCAPE.sub(laid_aside, pattern)
    try:
        parsed = _parser.parse(plain)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(str(error)) from error
    longest = parsed.getwidth()[1]
    written = _flagged(_Writer(classes).part(list(parsed)), parsed.state.flags)
    return written, None if longest >= LONGEST else longest


def anchored(pattern: str) -> bool:
    """Whether a pattern that `beginnings` takes asks where the text begins or ends."""
    plain = _ESCAPE.sub(lambda found: r"\Z" if found[0] == r"\z" else "x" if found[1] else found[0], pattern)
    waiting: list[Any] = [_parser.parse(plain)]
    while waiting:
        one = waiting.pop()
        if isinstance(one, tuple) and len(one) == 2 and str(one[0]) == "AT" and "BOUNDARY" not in str(one[1]):
            return True
        if isinstance(one, tuple | list | _parser.SubPattern):
            waiting += one
    return False


def _flagged(text: str, flags: int, off: int = 0) -> str:
    on = "".join(letter for flag, letter in _FLAGS if flags & flag)
    out = "".join(letter for flag, letter in _FLAGS if off & flag)
    return f"(?{on}{'-' + out if out else ''}:{text})"


class _Writer:
    """Python's syntax tree as RE2's text: whole, or as every beginning of it."""

    def __init__(self, classes: Sequence[str]) -> None:
        self._classes = classes

    def whole(self, nodes: Sequence[Any]) -> str:
        return "".join(self._whole(str(kind), value) for kind, value in nodes)

    def part(self, nodes: Sequence[Any]) -> str:
        """Either a beginning of the first node, or the first whole and a beginning of the rest."""
        text = ""
        for kind, value in reversed(nodes):
            first, whole = self._part(str(kind), value), self._whole(str(kind), value)
            text = f"(?:{first}|{whole}{text})" if first else f"(?:{whole}{text})?"
        return text

    def _whole(self, kind: str, value: Any) -> str:
        if kind == "AT":
            return ""
        if kind == "BRANCH":
            return "(?:" + "|".join(self.whole(list(branch)) for branch in value[1]) + ")"
        if kind == "SUBPATTERN":
            _, on, off, inner = value
            return _flagged(self.whole(list(inner)), on, off)
        if kind in ("MAX_REPEAT", "MIN_REPEAT"):
            least, most, inner = value
            return f"(?:{self.whole(list(inner))}){_times(least, most)}"
        return self._sign(kind, value)

    def _part(self, kind: str, value: Any) -> str:
        """A beginning that is not the whole; empty where there is but the empty one."""
        if kind == "BRANCH":
            return "(?:" + "|".join(self.part(list(branch)) for branch in value[1]) + ")"
        if kind == "SUBPATTERN":
            _, on, off, inner = value
            return _flagged(self.part(list(inner)), on, off)
        if kind in ("MAX_REPEAT", "MIN_REPEAT"):
            _, most, inner = value
            if most == 0:
                return ""
            before = most if _endless(most) else most - 1
            whole = self.whole(list(inner))
            return f"(?:{whole}){_times(0, before)}{self.part(list(inner))}"
        return ""

    def _sign(self, kind: str, value: Any) -> str:
        if kind == "LITERAL":
            return self._letter(value)
        if kind == "NOT_LITERAL":
            return f"[^{self._letter(value)}]"
        if kind == "ANY":
            return "."
        if kind == "IN":
            return "[" + "".join(self._member(str(one), what) for one, what in value) + "]"
        raise ValueError(f"{kind.lower().replace('_', ' ')} is not understood here")

    def _member(self, kind: str, value: Any) -> str:
        if kind == "NEGATE":
            return "^"
        if kind == "RANGE":
            return f"{self._letter(value[0])}-{self._letter(value[1])}"
        if kind == "CATEGORY":
            return _CATEGORIES[str(value)]
        return self._letter(value)

    def _letter(self, code: int) -> str:
        if 0 <= code - 0xF0000 < len(self._classes):
            return self._classes[code - 0xF0000]
        return f"\\x{{{code:x}}}"


def _endless(most: int) -> bool:
    return bool(most == _parser.MAXREPEAT)


def _times(least: int, most: int) -> str:
    return f"{{{least},{'' if _endless(most) else most}}}"
