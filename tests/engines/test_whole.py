"""A document cut off anywhere keeps its finished members and loses the unfinished one."""

from __future__ import annotations

import json
from typing import Any

import pytest

from smallworks.engines.whole import whole

ANY: dict[str, Any] = {"type": "object"}
DOCUMENT = {"name": 'A "b" \\ , {', "count": 1234, "tags": ["x", "y]"], "deep": {"on": True, "none": None}}


@pytest.mark.parametrize(
    ("cut", "expected"),
    [
        ('{"a":"x","b":"unfinis', '{"a":"x"}'),
        ('{"a":"x","b":', '{"a":"x"}'),
        ('{"a":"x","b', '{"a":"x"}'),
        ('{"a":"x"', '{"a":"x"}'),
        ('{"a":12', "{}"),
        ('{"a":12,', '{"a":12}'),
        ('{"a":["x","y', '{"a":["x"]}'),
        ('{"a":{"b":true,"c":fal', '{"a":{"b":true}}'),
        ('{"a":"say \\"no, {', "{}"),
        ("", ""),
        ("no JSON", "no JSON"),
    ],
)
def test_the_unfinished_member_is_left_out(cut: str, expected: str) -> None:
    assert whole(cut, ANY) == expected


def test_every_beginning_of_a_document_becomes_a_part_of_it() -> None:
    text = json.dumps(DOCUMENT, separators=(",", ":"))
    for end in range(1, len(text) + 1):
        found = json.loads(whole(text[:end], ANY))
        assert found.items() <= DOCUMENT.items() or set(found) <= set(DOCUMENT)
        assert all(found[name] == DOCUMENT[name] for name in list(found)[:-1])
    assert found == DOCUMENT


def test_what_the_schema_wants_and_the_cut_lost_leaves_the_text_as_it_is() -> None:
    schema = {"type": "object", "required": ["a", "b"]}
    assert whole('{"a":"x","b":"unf', schema) == '{"a":"x","b":"unf'


@pytest.mark.parametrize("schema", [ANY, {"type": "array"}, {"$ref": "#/none"}, {"type": "nothing"}])
@pytest.mark.parametrize("deep", [300, 5000])
def test_what_cannot_be_read_or_told_leaves_the_text_as_it_is(schema: dict[str, Any], deep: int) -> None:
    text = "[" * deep
    assert whole(text, schema) in (text, text + "]" * deep)
    assert whole('{"a":1,', schema) in ('{"a":1,', '{"a":1}')
