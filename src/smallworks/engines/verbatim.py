"""Fields that are said word for word as the text has them: a schema that holds them to spans of one text.

A small model that has begun a value wrongly goes on with words that stand nowhere: the starter in a sixth of
the values of SNIPS, tuned on 500 rows. A string of a schema with `"x-verbatim": true` can only be a piece of
the text that begins and ends where words do. Knows no engine: a schema goes in and one comes out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from smallworks.engines.words import Word, places, words

MARK = "x-verbatim"
SPANS = "spans-of-the-text"
"""Where the spans stand among the `$defs` of a schema."""
LEAST = 20
"""Values that all stood in their texts, from which on a field is marked without being told."""
LONGEST_TEXT, LONGEST_VALUE = 150, 32
"""Words and signs: a longer text holds no field, as its spans take long to compile; no value has more."""


PLAIN = {"type", "title", "description", "default", "examples"}
"""What a string may say of itself and be marked untold: spans know nothing of patterns and lengths."""
NAMED = ("properties", "patternProperties", "$defs", "definitions")
"""Parts of a schema whose keys are names, not words of the schema language."""


def marked(schema: Any) -> bool:
    """Whether any string of the schema is to be said word for word."""
    if isinstance(schema, list):
        return any(map(marked, schema))
    return isinstance(schema, Mapping) and (MARK in schema or any(map(marked, _parts(schema))))


def mark(schema: Mapping[str, Any], rows: Iterable[tuple[str, Mapping[str, Any]]]) -> dict[str, Any]:
    """The schema with a mark on each string that stood in the text of every row, LEAST times or more.

    A string that says of itself whether it is marked stays as it is, and so does one with a rule of its own.
    """
    properties: Mapping[str, Any] = schema.get("properties", {})
    left = {name for name, one in properties.items() if _may(one)}
    counts = dict.fromkeys(left, 0)
    for text, said in rows:
        found = words(text)
        for name in [name for name in left if said.get(name) is not None]:
            counts[name] += 1
            if not _stands(text, found, said[name]):
                left.discard(name)
    always = {name for name in left if counts[name] >= LEAST}
    if not always:
        return dict(schema)
    marks = {name: {**one, MARK: True} if name in always else one for name, one in properties.items()}
    return {**schema, "properties": marks}


def _may(one: Any) -> bool:
    if not isinstance(one, Mapping) or set(one) - PLAIN:
        return False
    kind = one.get("type")
    return kind == "string" or (isinstance(kind, list) and set(kind) == {"string", "null"})


def _stands(text: str, found: Sequence[Word], value: Any) -> bool:
    """Whether a span of the text says it."""
    if not isinstance(value, str) or len(words(value)) > LONGEST_VALUE:
        return False
    return next(places(text, found, value), None) is not None


def unmarked(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema as it was before anything was marked."""
    changed: dict[str, Any] = _changed(schema, ())
    return changed


def held(schema: Mapping[str, Any], text: str) -> dict[str, Any]:
    """The schema with its marked strings held to spans of `text`; without marks where it is too long.

    One with rules of its own may say those spans that keep them; where none does, any string that keeps them.
    """
    found = spans(text)
    changed: dict[str, Any] = _changed(schema, found)
    if found:
        changed["$defs"] = {**changed.get("$defs", {}), SPANS: {"enum": found}}
    return changed


def spans(text: str) -> list[str]:
    """Every piece of the text that begins and ends with a word or sign, sorted; [] where it is too long."""
    pieces = [(word.start, word.end) for word in words(text)]
    if len(pieces) > LONGEST_TEXT:
        return []
    ends = [end for _, end in pieces]
    found = {text[begin:end] for i, (begin, _) in enumerate(pieces) for end in ends[i : i + LONGEST_VALUE]}
    return sorted(found)


def _changed(schema: Any, found: Sequence[str]) -> Any:
    if isinstance(schema, list):
        return [_changed(each, found) for each in schema]
    if not isinstance(schema, Mapping):
        return schema
    plain = {key: value for key, value in schema.items() if key != MARK}
    if found and schema.get(MARK) is True:
        return _held(plain, found)
    for key, part in plain.items():
        names = isinstance(part, Mapping) and key in NAMED
        plain[key] = {n: _changed(one, found) for n, one in part.items()} if names else _changed(part, found)
    return plain


def _held(one: dict[str, Any], found: Sequence[str]) -> dict[str, Any]:
    """A span in the place of a string; null stays, where it was allowed."""
    span: dict[str, Any] = {"$ref": f"#/$defs/{SPANS}"}
    if set(one) - PLAIN:
        import jsonschema_rs

        keeps = jsonschema_rs.validator_for(one, offline=True)
        fit = [each for each in found if keeps.is_valid(each)]
        if not fit:
            return one
        span = {"enum": fit}
    null = isinstance(one.get("type"), list) and "null" in one["type"]
    return {"anyOf": [span, {"type": "null"}]} if null else span


def _parts(schema: Mapping[str, Any]) -> Iterator[Any]:
    """What stands inside of a schema and may be one itself."""
    for key, part in schema.items():
        if isinstance(part, Mapping) and key in NAMED:
            yield from part.values()
        else:
            yield part
