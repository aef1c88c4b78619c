"""The most tokens that a request may take, told before anything is rendered: for admission and budgets.

A token of a byte-level tokenizer stands for at least one byte, so that the bytes of a text bound its
tokens. That is about four times what English takes; what was too much is given back with the answer.
"""

from __future__ import annotations

from collections.abc import Sequence

from smallworks.engines.cascade import Cascade
from smallworks.engines.predictor import Predictor
from smallworks.errors import RequestError

MARGIN = 16
"""Tokens around one message that a template, or a remote server's own, may add."""


class Measure:
    """Of one bundle. `tokens` is 0 for a bundle whose engine has none."""

    def __init__(self, predictor: Predictor) -> None:
        self._context = predictor.model.context
        self._frame = _frame(predictor)
        self._readers = predictor.model.readers if isinstance(predictor.model, Cascade) else 1

    def tokens(self, texts: Sequence[str], answer: int) -> int:
        """Most tokens of one prompt that holds `texts`, and of an answer of at most `answer` tokens."""
        if not self._frame:
            return 0
        one = answer + sum(len(text.encode()) + MARGIN for text in texts)
        most = self._frame + self._readers * one
        return min(most, self._context) if self._context else most


def _frame(predictor: Predictor) -> int:
    """Tokens of the bundle's own prompt around one letter; all that fit where the shots differ."""
    if predictor.shots is not None and predictor.model.context:
        return predictor.model.context
    try:
        prompt = predictor.render("x")
    except RequestError:  # not even the instruction fits: every request will be told so
        return predictor.model.context
    return len(prompt.ids) or predictor.model.count(prompt.text)
