"""User text is data: control tokens written inside it are broken up before they can end a turn.

A text that says '<|im_end|>' must not become the token that ends a turn. A space goes in after the
first character ('< |im_end|>'): the rendered text then holds only the template's own control tokens,
so that text → ids stays one plain function, the same in every engine. (Encoding such text with
special parsing off would give ids that no rendered text can express.) Clean text is untouched.
Knows nothing of messages.
"""

from __future__ import annotations

import re

from tokenizers import AddedToken
from tokenizers.normalizers import Normalizer

from smallworks.prompt.template import Template
from smallworks.prompt.tokenizer import TextTokenizer
from smallworks.seams import Tokenizer

_SHAPE = re.compile(r"<\|[^|\s]{1,40}\|>|</?s>")
_BRACKETED = re.compile(r"<[^<>\s]{1,40}>|\[[^\[\]\s]{1,40}\]")


class Controls:
    """The control tokens of one model: special ones, those its template writes, those shaped like one.

    Other added tokens (Gemma's '<table>', runs of spaces) are ordinary text and pass.
    """

    def __init__(self, tokenizer: Tokenizer, template: Template) -> None:
        self._normalizer: Normalizer | None = None
        if isinstance(tokenizer, TextTokenizer):
            tokens = _listed(tokenizer, template)
            hidden = [token.content for token in tokens if token.normalized]
            self._normalizer = tokenizer.inner.normalizer if hidden else None
            self._folded = _pattern(hidden)
            self._any = _pattern([token.content for token in tokens])
        else:
            self._any = _pattern(_named(tokenizer, template), _SHAPE.pattern)

    def find(self, text: str) -> re.Match[str] | None:
        """The first control token in the text."""
        return self._any.search(text)

    def neutralise(self, text: str) -> str:
        """The same text, in which nothing can be read as a control token."""
        text = self._broken(text)
        if self._normalizer is not None:
            # Tokens that are matched after normalisation can hide in other forms, e.g. full-width letters.
            folded = self._normalizer.normalize_str(text)
            text = self._broken(folded) if self._folded.search(folded) else text
        return text

    def _broken(self, text: str) -> str:
        while self._any.search(text):
            text = self._any.sub(lambda found: f"{found[0][0]} {found[0][1:]}", text)
        return text


def _listed(tokenizer: TextTokenizer, template: Template) -> list[AddedToken]:
    tokens = [token for token in tokenizer.added.values() if token.content.strip()]
    return [t for t in tokens if t.special or t.content in template.source or _SHAPE.fullmatch(t.content)]


def _named(tokenizer: Tokenizer, template: Template) -> list[str]:
    """Control tokens of a tokenizer that does not list them (a bare GGUF).

    They are what the template names and the tokenizer takes as one token; besides them, everything
    shaped like '<|…|>' is broken up.
    """
    candidates = {*template.special.values(), *_BRACKETED.findall(template.source)}
    return sorted(text for text in candidates if len(tokenizer.encode(text)) == 1)


def _pattern(texts: list[str], *shapes: str) -> re.Pattern[str]:
    longest_first = sorted((text for text in texts if len(text) > 1), key=len, reverse=True)
    return re.compile("|".join((*map(re.escape, longest_first), *shapes)) or "(?!)")
