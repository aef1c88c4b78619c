"""A schema in, a valid document out, or a 400 that names the keyword; on the starter, through the server."""

from __future__ import annotations

import json
from itertools import chain
from typing import Any, Literal

import jsonschema_rs
import openai as sdk
import pytest
from openai import OpenAI
from pydantic import BaseModel

from benchmarks import schemas

ASK = [{"role": "user", "content": "Make up a small example as JSON."}]
SOME = list(chain(list(schemas.suite())[::15], schemas.drawn(6, seed=5)))


def form(schema: dict[str, Any]) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "x", "schema": schema, "strict": True}}


@pytest.mark.parametrize("schema", SOME, ids=range(len(SOME)))
def test_a_finished_answer_fits_its_schema(real: OpenAI, schema: dict[str, Any]) -> None:
    choice = real.chat.completions.create(
        model="starter", messages=ASK, response_format=form(schema), max_tokens=200
    ).choices[0]
    assert choice.finish_reason == "length" or jsonschema_rs.is_valid(
        schema, json.loads(choice.message.content)
    )


@pytest.mark.parametrize("keyword", schemas.REFUSED)
@pytest.mark.parametrize("stream", [False, True])
def test_a_schema_that_cannot_be_held_is_refused_by_its_keyword(
    real: OpenAI, keyword: str, stream: bool
) -> None:
    with pytest.raises(sdk.BadRequestError) as refusal:
        real.chat.completions.create(
            model="starter", messages=ASK, response_format=form(schemas.REFUSED[keyword]), stream=stream
        )
    assert f"{keyword}'" in refusal.value.message
    assert refusal.value.code == "schema_error"


def test_a_document_that_the_limit_cut_ends_before_its_unfinished_member(real: OpenAI) -> None:
    earlier = [ASK[0], {"role": "assistant", "content": '{"name": "a small example"}'}, ASK[0]]
    for messages in (ASK, earlier):
        choice = real.chat.completions.create(
            model="starter", messages=messages, response_format={"type": "json_object"}, max_tokens=2
        ).choices[0]
        assert choice.finish_reason == "length"
        assert isinstance(json.loads(choice.message.content), dict)


class Event(BaseModel):
    open: bool
    kind: Literal["talk", "walk"] | None


def test_a_pydantic_class_comes_back_parsed(real: OpenAI) -> None:
    reply = real.chat.completions.parse(model="starter", messages=ASK, response_format=Event, max_tokens=120)
    assert isinstance(reply.choices[0].message.parsed, Event)
