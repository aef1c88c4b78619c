"""Marked fields can only be pieces of the text, and everything else stays as the schema has it."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from smallworks.engines.predictor import Predictor
from smallworks.engines.schema import Grammars, fits
from smallworks.engines.verbatim import (
    LEAST,
    LONGEST_TEXT,
    LONGEST_VALUE,
    held,
    mark,
    marked,
    spans,
    unmarked,
)
from smallworks.prompt import TextTokenizer
from smallworks.starter import MODEL
from smallworks.types import Sampling

STATED = {"type": "string", "x-verbatim": True}
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "day": {**STATED, "type": ["string", "null"]},
        "mood": {"type": "string"},
        "town": STATED,
    },
    "additionalProperties": False,
}
TEXT = 'Rain in La Paz on the 3rd, "said" Ana?'


def accepts(schema: dict[str, Any], text: str) -> bool:
    """Whether every token of an answer may come where it comes, and the end after it."""
    tokenizer = TextTokenizer.load(MODEL)
    constraint = Grammars(tokenizer).start(schema, [2])
    for id in tokenizer.encode(text):
        if not constraint.allowed(tokenizer.inner.get_vocab_size())[id]:
            return False
        constraint.take(id)
    return constraint.done or bool(constraint.allowed(3)[2])


@pytest.mark.parametrize(
    ("answer", "may"),
    [
        ({"town": "La Paz"}, True),
        ({"town": "Paz", "day": "the 3rd"}, True),
        ({"town": '"said" Ana?'}, True),
        ({"day": None, "mood": "grim, as nobody said", "town": "La Paz"}, True),
        ({"town": "Lima"}, False),
        ({"town": "La Pa"}, False),
        ({"town": "La  Paz"}, False),
        ({"town": ""}, False),
        ({"town": None}, False),
    ],
)
def test_a_marked_field_is_a_piece_of_the_text(answer: dict[str, Any], may: bool) -> None:
    said = json.dumps(dict(sorted(answer.items())), separators=(",", ":"))
    assert accepts(held(SCHEMA, TEXT), said) is may


def test_what_is_held_fits_the_schema_that_was_given() -> None:
    assert fits('{"day":"the 3rd","town":"La Paz"}', SCHEMA)


def test_strings_inside_lists_and_objects_are_held_too() -> None:
    schema = {"type": "object", "properties": {"towns": {"type": "array", "items": STATED}}}
    assert marked(schema)
    assert accepts(held(schema, TEXT), '{"towns":["La Paz"]}')
    assert not accepts(held(schema, TEXT), '{"towns":["Lima"]}')


@pytest.mark.parametrize("text", ["", "word " * (LONGEST_TEXT + 1)], ids=["empty", "too long"])
def test_a_text_without_spans_holds_nothing(text: str) -> None:
    assert not marked(held(SCHEMA, text))
    assert accepts(held(SCHEMA, text), '{"town":"Lima"}')


def test_a_schema_without_marks_is_left_alone() -> None:
    assert not marked({"type": "object", "properties": {"town": {"type": "string"}}})


def test_spans_begin_and_end_with_words_and_are_told_once() -> None:
    assert spans("on and on") == ["and", "and on", "on", "on and", "on and on"]


@pytest.mark.parametrize(("engine", "may"), [("llamacpp", False), ("transformers", False), ("http", True)])
def test_a_bundle_holds_each_answer_to_its_own_text(engine: str, may: bool) -> None:
    manifest: Any = SimpleNamespace(engine=engine, sampling=Sampling(schema=SCHEMA))
    predictor = Predictor(manifest=manifest, model=None, renderer=None)  # type: ignore[arg-type]
    schema = predictor._wanted({"input": TEXT}, None).schema
    assert schema is not None and not marked(schema)
    assert accepts(dict(schema), '{"town":"La Paz"}')
    assert accepts(dict(schema), '{"town":"Lima"}') is may


def test_fields_that_always_stood_in_their_text_are_marked() -> None:
    plain = {"type": "string"}
    own = dict.fromkeys(("town", "mood", "rare"), plain) | {"told": {**plain, "x-verbatim": False}}
    schema = {
        "type": "object",
        "properties": {**own, "kind": {**plain, "enum": ["a"]}, "n": {"type": "integer"}},
    }
    rows = [
        (
            f"a trip to Rome {i}",
            {"town": "Rome", "mood": "fine" if i else "trip", "told": "trip", "kind": "a"},
        )
        for i in range(LEAST)
    ]
    marks = mark(schema, [*rows, ("Oslo", {"town": "Oslo", "rare": "Oslo", "n": 1})])["properties"]
    assert {name for name, one in marks.items() if one.get("x-verbatim")} == {"town"}
    assert mark(schema, rows[:3]) == schema and marks["told"]["x-verbatim"] is False


def test_a_field_with_rules_or_with_values_longer_than_spans_is_not_marked() -> None:
    long = " ".join(["word"] * (LONGEST_VALUE + 1))
    plain = {"type": "string"}
    schema = {"properties": {"code": {**plain, "pattern": "^[A-Z]+$"}, "long": plain, "town": plain}}
    rows = [(f"{long} in ROM", {"code": "ROM", "long": long, "town": "ROM"})] * LEAST
    assert [name for name, one in mark(schema, rows)["properties"].items() if marked(one)] == ["town"]


def test_rules_of_a_marked_field_choose_among_the_spans() -> None:
    code = {"type": "string", "x-verbatim": True, "pattern": "^[A-Z]{3}$"}
    schema = {"type": "object", "properties": {"code": code}, "additionalProperties": False}
    assert held(schema, "go to ROM")["properties"]["code"] == {"enum": ["ROM"]}
    assert held(schema, "go to it")["properties"]["code"] == {"type": "string", "pattern": "^[A-Z]{3}$"}


def test_a_field_may_be_called_as_the_mark_is() -> None:
    schema = {"type": "object", "properties": {"x-verbatim": {"type": "string"}}}
    assert not marked(schema) and unmarked(schema) == schema
    assert held(schema, "a")["properties"] == schema["properties"]


def test_without_its_marks_a_schema_is_as_it_was() -> None:
    plain = {"type": "object", "properties": {"town": {"type": "string"}}}
    assert unmarked(mark(plain, [("Rome", {"town": "Rome"})] * LEAST)) == plain
