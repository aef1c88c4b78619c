"""Schemas are checked before anything is generated: what is wrong is named with its place."""

from __future__ import annotations

import json
from typing import Any

import jsonschema_rs
import pytest

from benchmarks import schemas
from smallworks.engines.schema import DEEPEST, OPTIONS, usable
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
