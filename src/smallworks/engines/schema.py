"""JSON that cannot go wrong: a schema checked, and as a mask over the next token (llguidance).

White space is fixed, because a model allowed to emit it may never stop. llama.cpp answers without any
constraint, and without a word, where it cannot compile a schema: so every engine's schema is checked here
first. Knows nothing of models.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from smallworks.errors import SchemaError
from smallworks.prompt.tokenizer import TextTokenizer

if TYPE_CHECKING:
    import numpy as np


OPTIONS = "x-guidance"
"""The keyword by which a schema tells llguidance how to read it; a client's own is left out."""
DEEPEST = 64
"""Levels of a schema: more is no schema that anybody wrote."""
KEPT_CHARACTERS = 16_384
"""Schemas up to this length are checked once; what is larger is checked each time, and not kept."""
DRAFTS = frozenset({
    "http://json-schema.org/draft-04/schema",
    "http://json-schema.org/draft-06/schema",
    "http://json-schema.org/draft-07/schema",
    "https://json-schema.org/draft/2019-09/schema",
    "https://json-schema.org/draft/2020-12/schema",
})  # fmt: skip
"""What `$schema` may name, with or without a '#' behind it: any other would be fetched from where it says."""
SIGNS = re.compile(r"\\.|\[\^?\]?|&&|--|~~|.", re.DOTALL)
"""Of a pattern: an escape, the beginning of a class (where a ']' stands for itself), a class's operator."""
OPERATORS = frozenset({"&&", "--", "~~"})
CHARACTER = "([A-Za-z0-9._~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})"
MORE = CHARACTER.replace("=-]", "=:@-]")
URI = (
    f"^[A-Za-z][A-Za-z0-9+.-]*:(//{CHARACTER}+(:[0-9]{{1,5}})?(/{MORE}*)*|{MORE}+(/{MORE}*)*)"
    f"([?]({MORE}|[/?])*)?(#({MORE}|[/?])*)?$"
)
"""URIs as RFC 3986 has them, without users and addresses in brackets. llama.cpp's llguidance has no `uri`."""
MAPS = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas")
LISTS = ("allOf", "anyOf", "oneOf", "prefixItems", "items")
FRAME = ("type", "properties", "required", *MAPS)
"""Keywords that are blamed last: nearly any schema can be held without them."""
ONES = (
    "items",
    "additionalItems",
    "additionalProperties",
    "not",
    "if",
    "then",
    "else",
    "contains",
    "propertyNames",
    "unevaluatedItems",
    "unevaluatedProperties",
)


def usable(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema with its white space fixed. Raises SchemaError, naming a keyword that cannot be held."""
    if _depth(schema) > DEEPEST:
        raise SchemaError(f"The JSON schema is more than {DEEPEST} levels deep.", fix="Make it flatter.")
    bare = {key: value for key, value in schema.items() if key != OPTIONS}
    _check(bare)
    spelled = _spelled(bare)
    if spelled != bare:
        _check(spelled)
    return {**spelled, OPTIONS: {"whitespace_flexible": False}}


def fits(text: str, schema: Mapping[str, Any]) -> bool:
    """Whether an answer is a document of the schema. Formats are not looked at, and nothing is fetched.

    Numbers are taken as they are written: 1e999 is one. False too for a schema that is none, and for an
    answer deeper than can be read.
    """
    import jsonschema_rs

    try:
        document = json.loads(text, parse_float=Decimal, parse_int=Decimal, parse_constant=_refuse)
        return jsonschema_rs.is_valid(dict(schema), document, offline=True, validate_formats=False)
    except (ValueError, ArithmeticError, RecursionError, jsonschema_rs.ReferencingError):
        return False


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def _check(schema: Mapping[str, Any]) -> None:
    """Raises SchemaError."""
    text = json.dumps(schema)
    problem = (_problem if len(text) <= KEPT_CHARACTERS else _problem.__wrapped__)(text)
    if problem is not None:
        raise SchemaError(problem, fix="Change that keyword, or leave it out.")


@lru_cache(256)
def _problem(text: str) -> str | None:
    """What is wrong with a schema, None where nothing is."""
    import jsonschema_rs

    schema = json.loads(text)
    draft = schema.get("$schema")
    if isinstance(draft, str) and draft.removesuffix("#") not in DRAFTS:  # meta.validate would fetch it
        return _not_held(("$schema",), f"'{draft[:100]}' is no draft of json-schema.org from 4 to 2020-12")
    try:
        jsonschema_rs.meta.validate(schema)
        if message := _refusal(schema):
            return _not_held(_guilty(schema, schema, ()), _first_line(message))
        if place := next(_two_ways(schema, ()), None):
            return _not_held(place, "inside [ ], '[', '&&', '--' and '~~' are read in two ways: escape them")
        jsonschema_rs.validator_for(schema, offline=True, validate_formats=False)
    except (ValueError, jsonschema_rs.ReferencingError) as error:  # ValidationError is a ValueError
        return f"The JSON schema is not valid: {str(error).splitlines()[0]}."
    return None


def _not_held(place: Sequence[str | int], why: str) -> str:
    return f"The JSON schema cannot be held at '{'/'.join(map(str, place))}': {why}."


def _two_ways(schema: Mapping[str, Any], path: tuple[str | int, ...]) -> Iterator[tuple[str | int, ...]]:
    """Places of patterns with a class in a class, such as [[:alpha:]]; JSON Schema has signs alone there."""
    if isinstance(schema.get("pattern"), str) and _nests(schema["pattern"]):
        yield (*path, "pattern")
    for step, below in _below(schema):
        if step[0] == "patternProperties" and _nests(str(step[1])):
            yield (*path, *step)
        if isinstance(below, dict):
            yield from _two_ways(below, (*path, *step))


def _nests(pattern: str) -> bool:
    inside = False
    for sign in SIGNS.findall(pattern):
        opens = sign[0] == "["
        if inside and (opens or sign in OPERATORS):
            return True
        inside = opens or (inside and sign != "]")
    return False


def _refusal(schema: Any) -> str:
    """What llguidance says against a schema; empty where it can hold it."""
    from llguidance import LLMatcher

    try:
        grammar = LLMatcher.grammar_from_json_schema(json.dumps(schema))
    except ValueError as error:
        return str(error)
    return str(LLMatcher.validate_grammar(grammar))


def _guilty(schema: Any, root: Mapping[str, Any], path: tuple[str | int, ...]) -> tuple[str | int, ...]:
    """The way to the keyword without which the schema could be held: the deepest there is."""
    shared = {name: root[name] for name in ("$defs", "definitions") if name in root}
    for step, below in _below(schema):
        if isinstance(below, dict) and _refusal({**shared, **below}):
            return _guilty(below, root, (*path, *step))
    for key in sorted(schema, key=lambda name: name in FRAME):
        if not _refusal({**shared, **{name: value for name, value in schema.items() if name != key}}):
            return (*path, key)
    alone = (key for key in schema if _refusal({**shared, key: schema[key]}))
    return (*path, next(alone, "#"))


def _below(schema: Mapping[str, Any]) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """The schemas directly inside a schema, each with the steps to it."""
    for key in MAPS:
        if isinstance(schema.get(key), dict):
            yield from (((key, name), below) for name, below in schema[key].items())
    for key in LISTS:
        if isinstance(schema.get(key), list):
            yield from (((key, at), below) for at, below in enumerate(schema[key]))
    yield from (((key,), schema[key]) for key in ONES if isinstance(schema.get(key), dict))


def _spelled(schema: Any) -> Any:
    """The schema with its URIs told as a pattern."""
    if not isinstance(schema, dict):
        return schema
    told = dict(schema)
    for key in MAPS:
        if isinstance(told.get(key), dict):
            told[key] = {name: _spelled(below) for name, below in told[key].items()}
    for key in LISTS:
        if isinstance(told.get(key), list):
            told[key] = [_spelled(below) for below in told[key]]
    for key in ONES:
        told |= {key: _spelled(told[key])} if key in told else {}
    others = told.get("allOf", [])  # none where a keyword that the schema's draft does not know has it
    if told.get("format") == "uri" and isinstance(others, list):
        del told["format"]
        told["allOf"] = [*others, {"pattern": URI}]
    return told


def _depth(value: Any) -> int:
    """Levels of containers, counted without recursion, and no further than is of interest."""
    level, depth = [value], 0
    while level and depth <= DEEPEST:
        level = [
            below
            for one in level
            if isinstance(one, dict | list)
            for below in (one.values() if isinstance(one, dict) else one)
        ]
        depth += 1
    return depth


def _first_line(message: str) -> str:
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    return " ".join((lines[0], lines[-1]) if len(lines) > 1 else lines)[:300].rstrip(".")


class Grammars:
    """Compiles schemas for one tokenizer; the tokenizer's own table is built once per set of stop ids."""

    def __init__(self, tokenizer: TextTokenizer) -> None:
        self._tokenizer = tokenizer
        self._tables: dict[tuple[int, ...], Any] = {}

    def start(self, schema: Mapping[str, Any], stop_ids: Sequence[int]) -> Constraint:
        """A fresh constraint. Raises SchemaError for a schema that cannot be compiled."""
        from llguidance import LLMatcher

        table = self._table(tuple(stop_ids))
        grammar = LLMatcher.grammar_from_json_schema(json.dumps(usable(schema)))
        matcher = LLMatcher(table, grammar, log_level=0)
        if matcher.is_error():
            raise SchemaError(
                f"The JSON schema cannot be used: {_first_line(matcher.get_error())}.", fix="Mend the schema."
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
