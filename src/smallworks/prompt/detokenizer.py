"""Ids to text piece by piece, for streaming: no piece splits a character, and the pieces join to the whole.

Knows nothing of engines. A token may hold part of a character's bytes; such tokens are held back
until the character is complete.
"""

from __future__ import annotations

from collections.abc import Iterable

from smallworks.prompt.tokenizer import TextTokenizer

_UNFINISHED = "\N{REPLACEMENT CHARACTER}"


class Detokenizer:
    """One answer's text in the making: `"".join(pushes) + flush() == tokenizer.decode(all ids)`."""

    def __init__(self, tokenizer: TextTokenizer) -> None:
        self._tokenizer = tokenizer
        self._context: list[int] = []
        self._held: list[int] = []

    def push(self, ids: Iterable[int]) -> str:
        """The text that these ids complete; empty while a character is unfinished."""
        self._held += [id for id in ids if not self._tokenizer.is_special(id)]
        # A run of raw bytes is judged as a whole by the decoder: wait for its end.
        if not self._held or self._tokenizer.is_byte(self._held[-1]):
            return ""
        text = self._text()
        return "" if text.endswith(_UNFINISHED) else self._release(text)

    def flush(self) -> str:
        """The rest, at the end of the answer: bytes that never became a character read '�'."""
        return self._release(self._text()) if self._held else ""

    def _text(self) -> str:
        # A decoder may drop a leading space: only what follows the last piece reads as in the whole.
        before = self._tokenizer.decode(self._context)
        return self._tokenizer.decode(self._context + self._held)[len(before) :]

    def _release(self, text: str) -> str:
        self._context, self._held = self._held, []
        return text
