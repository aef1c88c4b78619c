"""The JSON of an answer that may call tools, read as it comes: words by pieces, each call once it is whole.

A call that the token limit cut off is never shown. Knows no route.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from smallworks.prompt.tools import ANSWER, CALLS

OPENING = re.compile(rf'\s*\{{\s*"({ANSWER}|{CALLS})"\s*:\s*["\[]')
BROKEN_ESCAPE = re.compile(r"(?<!\\)(?:\\\\)*(\\(?:u[0-9a-fA-F]{0,3})?)$")
HIGH_SURROGATE = re.compile(r"(?<!\\)(?:\\\\)*(\\u[dD][89abAB][0-9a-fA-F]{2}(?:\\(?:u[0-9a-fA-F]{0,3})?)?)$")
BETWEEN = re.compile(r"[\s,]*")


@dataclass(frozen=True, kw_only=True)
class Called:
    """`arguments` is JSON text."""

    name: str
    arguments: str
    id: str = field(default_factory=lambda: f"call_{secrets.token_hex(12)}")


class Reader:
    """Takes the text of one answer as it comes. `count` is how many calls it has given."""

    def __init__(self) -> None:
        self._text = ""
        """What has come and has not been given: read once, however small the pieces."""
        self._kind = ""
        self._ended = False
        self.count = 0

    def take(self, piece: str) -> tuple[str, Sequence[Called]]:
        """The words and the calls that are new with this piece."""
        self._text += piece
        if not self._kind:
            found = OPENING.match(self._text)
            if found is None:
                return "", ()
            self._kind, self._text = found[1], self._text[found.end() :]
        if self._kind == ANSWER:
            return self._words(), ()
        return "", self._calls() if "}" in piece else ()

    def _words(self) -> str:
        """What is new of the words; an escape that is not whole yet waits."""
        if self._ended:
            return ""
        raw = _string(self._text)
        self._ended = len(raw) < len(self._text)
        for unfinished in (BROKEN_ESCAPE, HIGH_SURROGATE):
            if found := unfinished.search(raw):
                raw = raw[: found.start(1)]
        self._text = self._text[len(raw) :]
        words: str = json.loads(f'"{raw}"', strict=False)
        return words

    def _calls(self) -> list[Called]:
        calls: list[Called] = []
        while True:
            begin = BETWEEN.match(self._text)
            assert begin is not None, "nothing at all matches too"
            try:
                value, end = json.JSONDecoder().raw_decode(self._text, begin.end())
            except ValueError:
                return calls
            self._text = self._text[end:]
            calls.append(_called(value))
            self.count += 1


def _called(value: Any) -> Called:
    arguments = json.dumps(value["arguments"], ensure_ascii=False, separators=(",", ":"))
    return Called(name=value["name"], arguments=arguments)


def _string(text: str) -> str:
    """The inside of a JSON string that may not have ended."""
    found = re.match(r'(?:[^"\\]|\\.)*(?:\\$)?', text, re.DOTALL)
    return found[0] if found else ""
