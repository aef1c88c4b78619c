"""JSON schemas to hold answers to: the kinds that the JSON-Schema-Test-Suite tries, and drawn ones.

Knows no engine. `suite()` is written out; `drawn(count)` comes from a seed, and keeps to the kinds of
schemas within what people write: nested objects, arrays, unions, bounds, patterns, formats, references.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

Schema = dict[str, Any]
REFUSED: dict[str, Schema] = {
    "not": {"not": {"type": "string"}},
    "if": {"if": {"type": "string"}, "then": {"minLength": 3}},
    "uniqueItems": {"type": "array", "uniqueItems": True},
    "contains": {"type": "array", "contains": {"type": "integer"}},
    "propertyNames": {"type": "object", "propertyNames": {"pattern": "^x"}},
    "dependentRequired": {"type": "object", "dependentRequired": {"a": ["b"]}},
    "dependentSchemas": {"type": "object", "dependentSchemas": {"a": {"required": ["b"]}}},
    "unevaluatedProperties": {"type": "object", "unevaluatedProperties": False},
    "unevaluatedItems": {"type": "array", "unevaluatedItems": False},
    "oneOf": {"oneOf": [{"type": "integer"}, {"type": "number"}]},
    "pattern": {"type": "object", "properties": {"a": {"type": "string", "pattern": "^a(?=b)"}}},
    "format": {"type": "array", "items": {"type": "string", "format": "no-such-format"}},
    "$ref": {"properties": {"a": {"$ref": "http://example.com/none"}}},
    "minimum": {"type": "integer", "minimum": 5, "maximum": 3},
    "enum": {"type": "object", "properties": {"a": {"enum": []}}, "required": ["a"]},
}
"""Schemas that no grammar here holds, by the keyword that is to be named."""
FORMATS = ("date", "time", "date-time", "email", "ipv4", "ipv6", "uuid", "uri", "hostname", "duration")
PATTERNS = ("^[a-z]{2,5}$", "^[A-Z]{3}-[0-9]{2}$", "^(yes|no)$", "^[0-9]{4}$", "^x[ab]?y$")
NAMES = ("name", "kind", "count", "tags", "city", "on", "price", "note", "when", "id")


def suite() -> Iterator[Schema]:
    """Each keyword by itself and in the usual company, as the public test suite tries them."""
    yield from _scalars()
    yield from _objects()
    yield from _arrays()
    yield from _combined()


def drawn(count: int, seed: int = 0) -> Iterator[Schema]:
    source = random.Random(seed)
    return (_any(source, 3) for _ in range(count))


def _scalars() -> Iterator[Schema]:
    yield from ({"type": kind} for kind in ("integer", "number", "boolean", "null"))
    yield from (
        {"const": value} for value in (1, -2.5, "x", 'a "q" \\ é', None, True, [1, {"a": 2}], {"a": [1]})
    )
    yield from (
        {"enum": values} for values in (["a", "b"], [1, 2.5], [None, True], [[1], {"a": 1}], ["", "é"])
    )
    yield from ({"type": "string", "format": name} for name in FORMATS)
    yield from ({"type": "string", "pattern": pattern} for pattern in PATTERNS)
    for least in range(0, 8, 2):
        yield {"type": "string", "minLength": least, "maxLength": least + 4}
        yield {"type": "integer", "minimum": -least, "maximum": 10 * least + 1}
        yield {"type": "integer", "exclusiveMinimum": least, "exclusiveMaximum": least + 7}
        yield {"type": "number", "minimum": least / 2, "maximum": least + 0.5}
        yield {"type": "integer", "multipleOf": least + 3, "minimum": 0, "maximum": 999}
    yield from ({"type": [kind, "null"], "maxLength": 9} for kind in ("string", "integer", "boolean"))


def _objects() -> Iterator[Schema]:
    word = {"type": "string", "maxLength": 12}
    number = {"type": "integer", "minimum": 0, "maximum": 99}
    both = {"name": word, "count": number}
    for required in ([], ["name"], ["count"], ["name", "count"]):
        for more in (False, True, number):
            schema = {"type": "object", "properties": both, "required": required}
            yield {**schema, "additionalProperties": more}
    yield {"type": "object", "additionalProperties": number, "maxProperties": 3}
    yield {"type": "object", "properties": both, "minProperties": 1, "additionalProperties": False}
    yield {"type": "object", "patternProperties": {"^[a-c]$": number}, "additionalProperties": False}
    yield {"type": "object", "properties": {'q"\\\n é': number}, "additionalProperties": False}
    yield {"type": "object", "properties": {"$ref": word}, "additionalProperties": False}
    closed = {"type": "object", "properties": {"on": {"type": "boolean"}}, "additionalProperties": False}
    deep: Schema = closed
    for _ in range(6):
        yield deep
        deep = {
            "type": "object",
            "properties": {"in": deep},
            "required": ["in"],
            "additionalProperties": False,
        }


def _arrays() -> Iterator[Schema]:
    for items in ({"type": "boolean"}, {"enum": ["a", "b"]}, {"type": "integer", "minimum": 0, "maximum": 9}):
        for least, most in ((0, 0), (0, 2), (1, 1), (2, 4)):
            yield {"type": "array", "items": items, "minItems": least, "maxItems": most}
    two = [{"type": "boolean"}, {"type": "null"}]
    yield {"type": "array", "prefixItems": two, "items": False, "minItems": 2}
    yield {"type": "array", "prefixItems": two, "items": {"const": 1}, "maxItems": 4}


def _combined() -> Iterator[Schema]:
    small = {"type": "integer", "minimum": 0, "maximum": 9}
    yield {"anyOf": [small, {"type": "boolean"}]}
    yield {"anyOf": [small, {"type": "string", "maxLength": 5}, {"type": "null"}]}
    yield {"oneOf": [small, {"type": "boolean"}]}
    yield {"oneOf": [_tagged("cat"), _tagged("dog")]}
    yield {"allOf": [{"type": "integer"}, {"minimum": 3}, {"maximum": 9}]}
    yield {"allOf": [{"type": "object", "properties": {"a": small}}, {"required": ["a"], "maxProperties": 2}]}
    yield {"$ref": "#/$defs/x", "$defs": {"x": small}}
    yield {"type": "array", "items": {"$ref": "#/definitions/x"}, "maxItems": 3, "definitions": {"x": small}}
    yield {
        "$defs": {"a/b": small, "c~d": small},
        "anyOf": [{"$ref": "#/$defs/a~1b"}, {"$ref": "#/$defs/c~0d"}],
    }
    tree: Schema = {
        "type": "object",
        "properties": {"kids": {"type": "array", "items": {"$ref": "#"}, "maxItems": 1}},
        "additionalProperties": False,
    }
    yield tree


def _tagged(kind: str) -> Schema:
    properties = {"kind": {"const": kind}, kind: {"type": "boolean"}}
    return {"type": "object", "properties": properties, "required": ["kind"], "additionalProperties": False}


def _any(source: random.Random, depth: int) -> Schema:
    makers = [_string, _number, _fixed] + ([_object, _object, _array, _union] if depth else [])
    return source.choice(makers)(source, depth)


def _string(source: random.Random, depth: int) -> Schema:
    kind = source.randrange(4)
    if kind == 0:
        return {"type": "string", "format": source.choice(FORMATS)}
    if kind == 1:
        return {"type": "string", "pattern": source.choice(PATTERNS)}
    least = source.randrange(6)
    return {"type": "string", "minLength": least, "maxLength": least + source.randrange(12)}


def _number(source: random.Random, depth: int) -> Schema:
    low = source.randrange(-1000, 1000)
    return {"type": "integer", "minimum": low, "maximum": low + source.randrange(500)}


def _fixed(source: random.Random, depth: int) -> Schema:
    some = source.sample(["a", "bc", "é", 0, 7, -1.5, True, None, [1], {"k": "v"}], source.randint(1, 4))
    return source.choice([{"enum": some}, {"const": some[0]}, {"type": "boolean"}, {"type": "null"}])


def _object(source: random.Random, depth: int) -> Schema:
    names = source.sample(NAMES, source.randint(1, 4))
    properties = {name: _any(source, depth - 1) for name in names}
    required = [name for name in names if source.random() < 0.7]
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def _array(source: random.Random, depth: int) -> Schema:
    least = source.randrange(2)
    return {"type": "array", "items": _any(source, depth - 1), "minItems": least, "maxItems": least + 2}


def _union(source: random.Random, depth: int) -> Schema:
    return {"anyOf": [_any(source, depth - 1) for _ in range(source.randint(2, 3))]}
