"""Pseudonyms of one request: one value has one, and in the answer the value may come back in its place.

A pseudonym that the client itself wrote is never given to a value, so that none is mistaken for ours.
"""

from __future__ import annotations

import json
import re

PSEUDONYM = re.compile(r"<[A-Z][A-Z0-9_]{0,63}_[1-9][0-9]{0,8}>")


class Pseudonyms:
    def __init__(self) -> None:
        self.originals: dict[str, str] = {}
        """Pseudonym → what stood there, of those that the answer may show."""
        self._given: dict[tuple[str, str], str] = {}
        self._last: dict[str, int] = {}
        self._taken: set[str] = set()

    def reserve(self, text: str) -> None:
        """What looks like a pseudonym in a text of the client's stays the client's."""
        if "<" in text:
            self._taken.update(PSEUDONYM.findall(text))

    def of(self, label: str, value: str, original: str, *, restore: bool) -> str:
        """The pseudonym of a `value`; with `restore` the answer shows the first way it was written."""
        name = self._given.get((label, value)) or self._new(label, value)
        if restore:
            self.originals.setdefault(name, original)
        return name

    def _new(self, label: str, value: str) -> str:
        while True:
            self._last[label] = self._last.get(label, 0) + 1
            name = f"<{label}_{self._last[label]}>"
            if name not in self._taken:
                self._given[label, value] = name
                return name


class Restorer:
    """A text that grows, with originals in the place of their pseudonyms; a part of one is held back.

    `escaped` writes them as they stand inside a JSON string.
    """

    def __init__(self, pseudonyms: Pseudonyms, *, escaped: bool) -> None:
        self._originals, self._escaped, self._held = pseudonyms.originals, escaped, ""

    def push(self, text: str) -> str:
        if not self._originals:
            return text
        text = self._held + text
        at = text.rfind("<")
        if at < 0 or not self._may_become_one(text[at:]):
            at = len(text)
        self._held = text[at:]
        return PSEUDONYM.sub(self._original, text[:at])

    def end(self) -> str:
        held, self._held = self._held, ""
        return held

    def _may_become_one(self, end: str) -> bool:
        return any(len(end) < len(name) and name.startswith(end) for name in self._originals)

    def _original(self, found: re.Match[str]) -> str:
        value = self._originals.get(found[0])
        if value is None:
            return found[0]
        return json.dumps(value, ensure_ascii=False)[1:-1] if self._escaped else value
