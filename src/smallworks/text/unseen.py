"""Characters that nobody sees, taken out of a document before anything reads it. Knows only text.

Instructions can be hidden from people in tag characters, variation selectors, zero-width spaces, or text
that is shown in another order than it is stored (bidirectional controls). What a reader does not see, a
model shall not read. Joiners stay between letters of scripts that need them, and one variation selector
behind an emoji.
"""

from __future__ import annotations

import re
import unicodedata

JOINERS = "\u200c\u200d"
SELECTORS = "\ufe0e\ufe0f"
_BREAKS = re.compile(r"\r\n?|[\x0b\x0c\x85\u2028\u2029]")
_SUSPECT = re.compile(
    r"[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\xad\u034f\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2"
    r"\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u2800\u3164"
    r"\ud800-\udfff\ue000-\uf8ff\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U000110bd\U000110cd\U00013430-\U0001345f"
    r"\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U0010ffff]+"
)
_SUSPECT_ASCII = re.compile(r"[\x00-\x08\x0e-\x1f\x7f]")
"""Those of ASCII: a set that is looked up, while the whole one is gone through for each character."""


def plain(text: str) -> str:
    """What a reader sees, with line feeds alone as line ends, in Unicode's composed form (NFC)."""
    text = _BREAKS.sub("\n", text)
    if not text.isascii():
        text = unicodedata.normalize("NFC", text)
    return _SUSPECT.sub(_kept, text)


class Stripper:
    """A text that grows, without what nobody sees: line ends and composed form stay as they are."""

    def __init__(self) -> None:
        self.count = 0
        """Characters that were taken out."""
        self._before = self._held = ""

    def push(self, text: str) -> str:
        """What is sure; a run of suspects at the end waits for what follows it."""
        if not self._held and not is_suspect(text):
            self._before = text[-1:] or self._before
            return text
        text = self._held + text
        end = len(text)
        while end and _SUSPECT.match(text, end - 1, end):
            end -= 1
        self._held = text[end:]
        return self._shown(text[:end])

    def end(self) -> str:
        held, self._held = self._held, ""
        return self._shown(held) if held else ""

    def _shown(self, text: str) -> str:
        shown = _SUSPECT.sub(_kept, self._before + text)[len(self._before) :]
        self.count += len(text) - len(shown)
        self._before = text[-1:] or self._before
        return shown


def is_suspect(text: str) -> bool:
    """Whether it may hold characters that nobody sees."""
    if text.isascii():
        return not text.isprintable() and _SUSPECT_ASCII.search(text) is not None
    return _SUSPECT.search(text) is not None


def count(text: str) -> int:
    """How many characters of it nobody sees."""
    text = _BREAKS.sub("\n", text)
    return sum(len(found[0]) - len(_kept(found)) for found in _SUSPECT.finditer(text))


def _kept(found: re.Match[str]) -> str:
    """A lone joiner between two letters, or a lone selector behind a sign, neither of them ASCII."""
    run, text = found[0], found.string
    before, after = text[found.start() - 1 : found.start()], text[found.end() : found.end() + 1]
    if run[0] in SELECTORS and not before.isascii():
        # An emoji sequence: heart, selector, joiner, fire.
        joined = run[1:] == JOINERS[1] and after and not after.isascii()
        return run if len(run) == 1 or joined else run[0]
    if len(run) == 1 and run in JOINERS and before and after and not (before.isascii() or after.isascii()):
        return run
    return ""
