"""/v1/responses through the stock client: items, named events in order, tools, refusals."""

from __future__ import annotations

import json

import httpx2
import openai as sdk
import pytest
from openai import OpenAI

SCHEMA = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"]}
NOTHING = {"type": "object", "properties": {}, "additionalProperties": False}
TOOL = {"type": "function", "name": "now", "parameters": NOTHING, "strict": True}


def test_a_text_is_answered_as_a_message(real: OpenAI) -> None:
    reply = real.responses.create(model="echo", input="Hi.")
    assert reply.output_text == "Say it.\n\nHi."
    assert reply.status == "completed" and reply.output[0].role == "assistant"
    assert reply.usage.total_tokens == reply.usage.input_tokens + reply.usage.output_tokens > 0


def test_turns_and_instructions_make_a_conversation(real: OpenAI) -> None:
    turns = [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": [{"type": "output_text", "text": "b"}]},
        {"role": "user", "content": [{"type": "input_text", "text": "c"}]},
    ]
    reply = real.responses.create(model="echo", instructions="Be brief.", input=turns)
    assert reply.output_text == "Be brief.\n\na\n\nb\n\nc"


def test_the_events_of_a_stream_come_named_and_in_order(real: OpenAI) -> None:
    with real.responses.stream(model="echo", input="Hi.") as stream:
        events = list(stream)
        final = stream.get_final_response()
    kinds = [event.type for event in events]
    assert kinds[:4] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
    ]
    assert set(kinds[4:-4]) == {"response.output_text.delta"}
    assert kinds[-4:] == [
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert final.output_text == "Say it.\n\nHi."


def test_each_event_has_its_name_on_the_wire(real: OpenAI) -> None:
    body = {"model": "echo", "input": "Hi.", "stream": True}
    with httpx2.Client() as client:
        lines = client.post(f"{real.base_url}responses", json=body).text.split("\n\n")
    assert lines[0].startswith("event: response.created\ndata: {")


def test_an_answer_that_a_limit_cut_is_incomplete(real: OpenAI) -> None:
    reply = real.responses.create(model="echo", input="Hi.", max_output_tokens=3)
    assert reply.status == "incomplete" and reply.incomplete_details.reason == "max_output_tokens"
    *_, last = real.responses.create(model="echo", input="Hi.", max_output_tokens=3, stream=True)
    assert last.type == "response.incomplete"


def test_a_schema_holds_the_text(real: OpenAI) -> None:
    form = {"format": {"type": "json_schema", "name": "x", "schema": SCHEMA, "strict": True}}
    reply = real.responses.create(model="starter", input="Is it so?", text=form, max_output_tokens=60)
    assert reply.status == "incomplete" or isinstance(json.loads(reply.output_text)["ok"], bool)


@pytest.mark.parametrize("stream", [False, True])
def test_a_required_tool_is_called_as_an_item_of_its_own(real: OpenAI, stream: bool) -> None:
    wanted = {"model": "starter", "input": "The time?", "tools": [TOOL], "max_output_tokens": 100}
    wanted |= {"tool_choice": {"type": "function", "name": "now"}}
    if stream:
        events = list(real.responses.create(stream=True, **wanted))
        assert "response.function_call_arguments.done" in [event.type for event in events]
        reply = events[-1].response
    else:
        reply = real.responses.create(**wanted)
    (call,) = reply.output
    assert (call.type, call.name) == ("function_call", "now")
    assert isinstance(json.loads(call.arguments), dict)


def test_results_of_calls_are_read(real: OpenAI) -> None:
    turns = [
        {"role": "user", "content": "The time?"},
        {"type": "function_call", "call_id": "c", "name": "now", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": "12:30"},
    ]
    reply = real.responses.create(model="echo", input=turns, max_output_tokens=500)
    assert reply.output_text.endswith("Result of now:\n12:30")


def test_a_label_comes_with_its_probabilities(real: OpenAI) -> None:
    reply = real.responses.create(model="tickets", input="It crashes.")
    assert reply.output_text == "bug" and reply.smallworks["label"] == "bug"


@pytest.mark.parametrize(
    ("options", "param"),
    [
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"background": True}, "background"),
        ({"tool_choice": "required"}, "tools"),
        ({"text": {"format": {"type": "json_schema", "name": "x"}}}, "text.format.schema"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"model": "tickets", "instructions": "Be rude."}, "input"),
    ],
)
def test_what_cannot_be_honoured_is_refused_by_name(
    real: OpenAI, options: dict[str, object], param: str
) -> None:
    with pytest.raises(sdk.BadRequestError) as refusal:
        real.responses.create(**{"model": "echo", "input": "Hi.", **options})
    assert refusal.value.param == param
