"""A strict parse is what a program could use; a lenient one is what a person would take."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smallworks.errors import TaskError
from smallworks.evaluate.parse import parse

LABELS = ("bug", "feature_request", "card payment", "card payment fee", "Größe")
SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "count": {"type": "integer"}},
    "required": ["name"],
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    ("raw", "strict", "lenient"),
    [
        ("bug", "bug", "bug"),
        (" bug\n", None, "bug"),
        ("Bug.", None, "bug"),
        ("Feature request", None, "feature_request"),
        ("FeatureRequest", None, "feature_request"),
        ("I think it is a bug!", None, "bug"),
        ("a bug or a feature request", None, None),
        ("it is the card payment fee", None, "card payment fee"),
        ("debugging", None, None),
        ("GRÖSSE", None, "Größe"),
        ("", None, None),
        ("none of these", None, None),
    ],
)
def test_a_label_is_read_twice(raw: str, strict: str | None, lenient: str | None) -> None:
    parsed = parse("classify", raw, labels=LABELS)
    assert (parsed.strict, parsed.lenient) == (strict, lenient)


def test_labels_alike_but_for_punctuation_are_told_apart_only_exactly() -> None:
    labels = ("C", "C++", "+")
    assert parse("classify", "C++", labels=labels).strict == "C++"
    assert parse("classify", " C++ ", labels=labels).lenient == "C++"
    assert parse("classify", "c", labels=labels).lenient is None


@settings(deadline=None)
@given(st.text(max_size=80))
def test_any_text_parses_to_a_label_or_to_none(raw: str) -> None:
    parsed = parse("classify", raw, labels=LABELS)
    assert {parsed.strict, parsed.lenient} <= {*LABELS, None}


@pytest.mark.parametrize(
    ("raw", "strict", "lenient"),
    [
        ('{"count": 2, "name": "x"}', '{"count":2,"name":"x"}', '{"count":2,"name":"x"}'),
        ('{"name": "x", "count": 2.0}', '{"count":2,"name":"x"}', '{"count":2,"name":"x"}'),
        ('```json\n{"name": "x"}\n```', None, '{"name":"x"}'),
        ('Sure {here}: {"name": "x"} and {"name": "y"}', None, '{"name":"x"}'),
        ('{"count": 2}', None, '{"count":2}'),
        ('{"name": "x", "count": NaN}', None, None),
        ('{"name": "x"', None, None),
        ("", None, None),
        ('{"a":' * 5000, None, None),
    ],
)
def test_a_document_is_valid_by_its_schema_or_merely_found(
    raw: str, strict: str | None, lenient: str | None
) -> None:
    parsed = parse("extract", raw, schema=SCHEMA)
    assert (parsed.strict, parsed.lenient) == (strict, lenient)


def test_a_schema_that_asks_for_a_list_finds_a_list() -> None:
    parsed = parse("extract", 'The list: [{"a": 1}]', schema={"type": "array"})
    assert parsed.lenient == '[{"a":1}]'


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**6), 10**6) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
)


@settings(deadline=None)
@given(st.dictionaries(st.text(max_size=4), json_values, max_size=4))
def test_every_written_object_is_read_back(value: dict[str, object]) -> None:
    parsed = parse("extract", json.dumps(value, indent=2))
    assert parsed.strict is not None and parsed.strict == parsed.lenient
    assert json.loads(parsed.strict) == value


def test_an_invalid_schema_is_the_users_to_mend() -> None:
    with pytest.raises(TaskError, match="not valid"):
        parse("extract", "{}", schema={"type": "objekt"})


def test_text_is_kept_strictly_and_tidied_leniently() -> None:
    parsed = parse("answer", ' "In the   settings."\n')
    assert parsed.strict == ' "In the   settings."\n'
    assert parsed.lenient == "In the settings."
