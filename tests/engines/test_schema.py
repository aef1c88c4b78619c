"""Schemas are checked before anything is generated: what is wrong is named with its place."""

from __future__ import annotations

import json
import re
from typing import Any

import jsonschema_rs
import pytest

from benchmarks import schemas
from smallworks.engines.schema import (
    DEEPEST,
    DRAFTS,
    KEPT_CHARACTERS,
    OPTIONS,
    URI,
    _nests,
    _problem,
    fits,
    usable,
)
from smallworks.engines.whole import whole
from smallworks.errors import SchemaError


@pytest.mark.parametrize(
    ("schema", "place"),
    [
        (
            {"properties": {"a": {"type": "array", "items": {"uniqueItems": True}}}},
            "properties/a/items/uniqueItems",
        ),
        ({"anyOf": [{"type": "null"}, {"not": {}}]}, "anyOf/1/not"),
        ({"$defs": {"x": {"if": {}, "then": {}}}, "$ref": "#/$defs/x"}, "$defs/x/if"),
        ({"type": "string", "pattern": "(?=a)"}, "pattern"),
        ({"type": "string", "format": "no-such"}, "format"),
        ({"$ref": "#/$defs/none"}, "$ref"),
    ],
)
def test_a_keyword_that_cannot_be_held_is_named_with_its_place(schema: dict[str, Any], place: str) -> None:
    with pytest.raises(SchemaError, match=f"held at '{place.replace('$', '[$]')}'"):
        usable(schema)


def test_a_schema_that_is_none_is_told_so() -> None:
    with pytest.raises(SchemaError, match="not valid"):
        usable({"type": "nothing"})


def test_a_schema_that_is_far_too_deep_is_refused() -> None:
    schema: dict[str, Any] = {}
    for _ in range(DEEPEST):
        schema = {"items": schema}
    with pytest.raises(SchemaError, match="levels deep"):
        usable(schema)


def test_options_of_the_grammar_are_not_the_clients_to_set() -> None:
    found = usable({"type": "object", OPTIONS: {"lenient": True, "whitespace_flexible": True}})
    assert found[OPTIONS] == {"whitespace_flexible": False}
    with pytest.raises(SchemaError):
        usable({"not": {}, OPTIONS: {"lenient": True}})


def test_all_that_the_suite_tries_can_be_held() -> None:
    for schema in (*schemas.suite(), *schemas.drawn(100)):
        held = usable(schema)
        assert jsonschema_rs.meta.is_valid(json.loads(json.dumps(held)))


def test_uris_are_told_as_a_pattern_wherever_a_schema_may_stand_and_nowhere_else() -> None:
    uri = {"type": "string", "format": "uri"}
    schema = {"properties": {"format": uri, "b": {"anyOf": [{"type": "null"}, uri]}, "c": {"enum": [uri]}}}
    told = {"type": "string", "allOf": [{"pattern": URI}]}
    held = usable(schema)["properties"]
    assert held == {"format": told, "b": {"anyOf": [{"type": "null"}, told]}, "c": {"enum": [uri]}}


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("https://a.example:80/b/c?d=%20/e#f", True),
        ("urn:isbn:1", True),
        ("http://a b", False),
        ("http://a/%zz", False),
        ("a/b", False),
        ("http://a:b", False),
    ],
)
def test_the_pattern_of_uris_takes_none_that_is_no_uri(text: str, same: bool) -> None:
    schema = {"type": "string", "format": "uri"}
    assert (re.fullmatch(URI, text) is not None) == same
    assert not same or jsonschema_rs.is_valid(schema, text, validate_formats=True)


def test_bounds_that_no_uri_fits_are_refused() -> None:
    with pytest.raises(SchemaError, match="held at"):
        usable({"type": "string", "format": "uri", "maxLength": 2})


def test_a_large_schema_is_checked_and_not_kept() -> None:
    kept = _problem.cache_info().currsize
    usable({"enum": ["x" * KEPT_CHARACTERS]})
    assert _problem.cache_info().currsize == kept


def test_a_document_fits_or_not() -> None:
    assert fits("1", {"type": "integer"})
    assert not fits('"1"', {"type": "integer"})
    assert not fits("{", {"type": "object"})


@pytest.mark.parametrize(
    "form",
    [
        {"$schema": "URL"},
        {"$schema": "URL#"},
        {"$ref": "URL"},
        {"$id": "URL", "$defs": {"a": {"$ref": "b"}}},
        {"$id": "URL", "$ref": "b"},
        {"properties": {"a": {"$schema": "URL", "$id": "URL/a"}}},
        {"$dynamicRef": "URL"},
        {"items": {"$ref": "URL#/$defs/a"}},
    ],
)
def test_no_schema_has_anything_fetched(elsewhere: str, form: dict[str, Any]) -> None:
    schema = json.loads(json.dumps(form).replace("URL", elsewhere))
    with pytest.raises(SchemaError):
        usable(schema)
    fits("[{}]", schema)
    whole('{"a":1,"b', schema)


def test_a_draft_that_is_not_known_is_refused_by_its_keyword(elsewhere: str) -> None:
    with pytest.raises(SchemaError, match=f"held at '[$]schema': '{elsewhere}' is no draft"):
        usable({"$schema": elsewhere})
    with pytest.raises(SchemaError, match="not valid"):
        usable({"$schema": 5})
    for draft in DRAFTS:
        assert usable({"$schema": f"{draft}#", "type": "string"}) and usable({"$schema": draft})


@pytest.mark.parametrize("others", [5, None, {}])
def test_a_uri_beside_what_is_no_schema_is_refused(others: Any) -> None:
    broken = {"type": "string", "format": "uri", "allOf": others}
    with pytest.raises(SchemaError, match="not valid"):
        usable(broken)
    assert usable({"$schema": "http://json-schema.org/draft-04/schema", "$defs": {"a": broken}})  # not known


@pytest.mark.parametrize(
    ("pattern", "nests"),
    [
        ("^[[:alpha:]]{1,3}$", True),
        ("[a-z&&b]", True),
        ("[^]a~~b]", True),
        ("x[a][b[c]]", True),
        (r"[\[a]", False),
        (r"[]a]&&[^]b]", False),
        (r"\[[a-z_-]\[", False),
        ("a--b~~[&|-]", False),
        (URI, False),
    ],
)
def test_a_class_inside_a_class_is_refused_for_it_is_read_in_two_ways(pattern: str, nests: bool) -> None:
    assert _nests(pattern) == nests
    if nests:
        with pytest.raises(SchemaError, match="held at 'items/pattern': inside"):
            usable({"items": {"type": "string", "pattern": pattern}})
        with pytest.raises(SchemaError, match="held at 'patternProperties/"):
            usable({"type": "object", "patternProperties": {pattern: {}}})


def test_a_pattern_that_only_the_grammar_reads_is_refused() -> None:
    with pytest.raises(SchemaError, match="regex"):
        usable({"type": "string", "pattern": r"^\a$"})


@pytest.mark.parametrize("number", ["1e999", "-1E400", "1" * 5000, "0.3", "1e-400"])
def test_numbers_fit_as_they_are_written(number: str) -> None:
    assert fits(number, {"type": "number"})
    assert not fits(number, {"type": "string"})
    assert not fits("1e999", {"maximum": 5}) and not fits("NaN", {})


def test_formats_are_not_looked_at_in_any_draft() -> None:
    for draft in DRAFTS:
        assert fits('"no day"', {"$schema": draft, "type": "string", "format": "date"})
