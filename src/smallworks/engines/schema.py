"""JSON that cannot go wrong: a schema as a mask over the next token (llguidance).

White space is fixed, because a model allowed to emit it may never stop. Knows nothing of models.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from smallworks.errors import MissingExtra, RequestError
from smallworks.prompt.tokenizer import TextTokenizer

if TYPE_CHECKING:
    import numpy as np


class Grammars:
    """Compiles schemas for one tokenizer; the tokenizer's own table is built once per set of stop ids."""

    def __init__(self, tokenizer: TextTokenizer) -> None:
        self._tokenizer = tokenizer
        self._tables: dict[tuple[int, ...], Any] = {}

    def start(self, schema: Mapping[str, Any], stop_ids: Sequence[int]) -> Constraint:
        """A fresh constraint. Raises RequestError for a schema that cannot be compiled."""
        try:
            from llguidance import LLMatcher
        except ImportError as error:
            raise MissingExtra("llguidance", extra="train", wanted_for="JSON held to a schema") from error
        table = self._table(tuple(stop_ids))
        grammar = LLMatcher.grammar_from_json_schema(
            json.dumps(schema), overrides={"whitespace_flexible": False}
        )
        matcher = LLMatcher(table, grammar, log_level=0)
        if matcher.is_error():
            raise RequestError(
                f"The JSON schema cannot be used: {matcher.get_error().splitlines()[0]}.",
                fix="Mend the schema.",
            )
        return Constraint(matcher)

    def _table(self, stop_ids: tuple[int, ...]) -> Any:
        from llguidance import LLTokenizer

        if stop_ids not in self._tables:
            self._tables[stop_ids] = LLTokenizer(
                self._tokenizer.inner.to_str(), eos_token=list(stop_ids) or None
            )
        return self._tables[stop_ids]


class Constraint:
    """The state of one answer: which tokens may come next, and whether the JSON is whole."""

    def __init__(self, matcher: Any) -> None:
        self._matcher = matcher

    @property
    def done(self) -> bool:
        """True once nothing but the end may follow."""
        return bool(self._matcher.is_stopped())

    def allowed(self, size: int) -> np.ndarray:
        """Booleans over `size` token ids; ids past the tokenizer's own are never allowed."""
        import numpy as np

        packed = np.frombuffer(self._matcher.compute_bitmask(), np.uint8)
        bits = np.unpackbits(packed, bitorder="little")[:size].astype(bool)
        return np.pad(bits, (0, size - len(bits)))

    def take(self, token: int) -> None:
        self._matcher.consume_token(token)
