"""Tools: rendered as words, held to their schemas by a grammar, told as calls, whole and streamed."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import jsonschema_rs
import openai as sdk
import pytest
from openai import OpenAI

from smallworks.engines.schema import usable
from smallworks.prompt import tools
from smallworks.prompt.tools import Offered
from smallworks.server import calling
from smallworks.server.calling import Reader

WEATHER: dict[str, Any] = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "maxLength": 8},
        "unit": {"enum": ["C", "F"]},
    },
    "required": ["city", "unit"],
    "additionalProperties": False,
}
TOOLS: list[dict[str, Any]] = [
    {
        "type": "function",
        "function": {"name": "weather", "description": "The weather.", "parameters": WEATHER},
    },
    {"type": "function", "function": {"name": "now"}},
]
ASK = [{"role": "user", "content": "What is the weather in Rome?"}]
NAMED = {"type": "function", "function": {"name": "weather"}}


def test_a_named_tool_is_called_with_arguments_by_its_schema(real: OpenAI) -> None:
    choice = real.chat.completions.create(
        model="starter", messages=ASK, tools=TOOLS, tool_choice=NAMED, max_tokens=120
    ).choices[0]
    (call,) = choice.message.tool_calls
    assert choice.finish_reason == "tool_calls" and choice.message.content is None
    assert call.function.name == "weather"
    assert jsonschema_rs.is_valid(WEATHER, json.loads(call.function.arguments))


def test_a_required_call_is_of_one_of_the_tools_and_comes_streamed_too(real: OpenAI) -> None:
    with real.chat.completions.stream(
        model="starter",
        messages=ASK,
        tools=TOOLS,
        tool_choice="required",
        parallel_tool_calls=False,
        max_tokens=120,
    ) as stream:
        final = stream.get_final_completion().choices[0]
    (call,) = final.message.tool_calls
    assert final.finish_reason == "tool_calls"
    assert call.function.name in ("weather", "now")
    json.loads(call.function.arguments)


def test_a_model_that_may_choose_answers_in_words_or_calls(real: OpenAI) -> None:
    choice = real.chat.completions.create(model="starter", messages=ASK, tools=TOOLS, max_tokens=150).choices[
        0
    ]
    assert bool(choice.message.tool_calls) != bool(choice.message.content)
    assert not (choice.message.content or "").startswith("{")


def test_calls_and_results_of_earlier_turns_are_read(real: OpenAI) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "now", "arguments": "{}"}}
    turns = [*ASK, {"role": "assistant", "content": None, "tool_calls": [call]}]
    turns += [{"role": "tool", "tool_call_id": "c1", "content": "12:30"}]
    reply = real.chat.completions.create(model="echo", messages=turns, max_tokens=500)
    assert reply.choices[0].message.content.endswith(
        '{"tool_calls":[{"name":"now","arguments":{}}]}\n\nResult of now:\n12:30'
    )


def test_with_tool_choice_none_nothing_is_offered(real: OpenAI) -> None:
    reply = real.chat.completions.create(model="echo", messages=ASK, tools=TOOLS, tool_choice="none")
    assert "Tools:" not in reply.choices[0].message.content


@pytest.mark.parametrize(
    ("model", "options", "param"),
    [
        ("tickets", {"tools": TOOLS}, "tools"),
        ("starter", {"functions": [{"name": "f"}]}, "functions"),
        ("starter", {"tool_choice": "required"}, "tools"),
        (
            "starter",
            {"tools": TOOLS, "tool_choice": {"type": "function", "function": {"name": "g"}}},
            "tool_choice",
        ),
        ("starter", {"tools": [TOOLS[0], TOOLS[0]]}, "tools"),
        ("starter", {"tools": TOOLS, "response_format": {"type": "json_object"}}, "response_format"),
        ("starter", {"tools": [{"type": "function", "function": {"name": "a b"}}]}, "tools.0.function.name"),
    ],
)
def test_what_cannot_be_called_is_refused(
    real: OpenAI, model: str, options: dict[str, Any], param: str
) -> None:
    with pytest.raises(sdk.BadRequestError) as refusal:
        real.chat.completions.create(model=model, messages=ASK, **options)
    assert refusal.value.param == param


def test_arguments_that_no_grammar_holds_are_refused_by_keyword(real: OpenAI) -> None:
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "not": {}}}}
    with pytest.raises(sdk.BadRequestError, match="arguments/not"):
        real.chat.completions.create(model="starter", messages=ASK, tools=[tool])


def test_definitions_of_arguments_are_found_from_the_root() -> None:
    parameters = {
        "type": "object",
        "properties": {"to": {"$ref": "#/$defs/Place"}},
        "required": ["to"],
        "$defs": {
            "Place": {"type": "object", "properties": {"in": {"$ref": "#/$defs/Land"}}},
            "Land": {"enum": ["IT"]},
        },
    }
    schema = tools.schema([Offered(name="go", parameters=parameters)], must=True, parallel=True)
    usable(schema)
    good = {"tool_calls": [{"name": "go", "arguments": {"to": {"in": "IT"}}}]}
    bad = {"tool_calls": [{"name": "go", "arguments": {"to": {"in": "FR"}}}]}
    assert jsonschema_rs.is_valid(schema, good) and not jsonschema_rs.is_valid(schema, bad)


@pytest.mark.parametrize("words", ["", "plain", 'a "q" \\ \u20ac \U0001f600\n\t', "\\" * 7, "é" * 5])
@pytest.mark.parametrize("ascii", [True, False])
def test_words_are_read_however_they_are_cut(words: str, ascii: bool) -> None:
    reader = Reader()
    written = json.dumps({"answer": words}, ensure_ascii=ascii)
    pieces = [reader.take(character)[0] for character in written]
    assert "".join(pieces) == words
    assert Reader().take(written)[0] == words


@pytest.mark.parametrize("form", ["answer", "tool_calls"])
def test_what_was_read_is_not_read_again(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at: list[int] = []

    class Parser(json.JSONDecoder):
        def raw_decode(self, s: str, idx: int = 0) -> tuple[Any, int]:
            looked_at.append(len(s))
            return super().raw_decode(s, idx)

    def loads(text: str, **options: Any) -> Any:
        looked_at.append(len(text))
        return json.loads(text, **options)

    parser = SimpleNamespace(loads=loads, dumps=json.dumps, JSONDecoder=Parser)
    monkeypatch.setattr(calling, "json", parser)
    call = {"name": "f", "arguments": {"a": "x" * 100}}
    written = json.dumps({form: "x" * 5000 if form == "answer" else [call] * 50})
    reader = Reader()
    for character in written:
        reader.take(character)
    assert sum(looked_at) < 10 * len(written)


def test_a_call_is_told_once_it_is_whole_and_a_broken_one_never() -> None:
    written = '{"tool_calls":[{"name":"f","arguments":{"a":"}]"}},{"name":"g","arguments":{"b":1'
    reader = Reader()
    calls = [call for character in written for call in reader.take(character)[1]]
    assert [(call.name, call.arguments) for call in calls] == [("f", '{"a":"}]"}')]
