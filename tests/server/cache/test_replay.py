"""An answer told as a stream and put together again is the same answer, whatever it holds."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smallworks.server.cache.replay import Replay, Whole

CHAT, TEXT = "/chat/completions", "/completions"
USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
HEAD = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "m"}
CALL = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Graz"}'}}


def chat(message: dict[str, Any], **other: Any) -> dict[str, Any]:
    whole = {"role": "assistant", "content": None, "refusal": None, **message}
    choice = {"index": 0, "message": whole, "logprobs": None, "finish_reason": "stop"}
    return {**HEAD, "choices": [choice], "usage": USAGE, **other}


def told(form: str, answer: dict[str, Any], usage: bool = True) -> list[dict[str, Any]]:
    return asyncio.run(Replay(form, answer, usage=usage).take())


def together(form: str, events: list[dict[str, Any]], most: int = 10**6) -> dict[str, Any] | None:
    whole = Whole(form, most)
    for event in events:
        whole.add(event)
    return whole.answer()


ANSWERS = {
    "text": chat({"content": "Hello."}),
    "empty": chat({"content": ""}),
    "refusal": chat({"content": "", "refusal": "No."}),
    "reasoning": chat({"content": "4", "reasoning_content": "2 and 2"}),
    "label": chat({"content": "bug"}, smallworks={"label": "bug", "probabilities": {"bug": 1.0}}),
    "fingerprint": chat({"content": "x"}, system_fingerprint="fp"),
    "tools": chat({"tool_calls": [CALL, {**CALL, "id": "call_2"}]}),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_a_chat_comes_back_as_it_was(name: str) -> None:
    assert together(CHAT, told(CHAT, ANSWERS[name])) == ANSWERS[name]


@given(st.lists(st.text(), min_size=1, max_size=4))
def test_several_choices_come_back(texts: list[str]) -> None:
    choices = [
        {"index": at, "text": text, "logprobs": None, "finish_reason": "length"}
        for at, text in enumerate(texts)
    ]
    answer = {**HEAD, "object": "text_completion", "choices": choices, "usage": USAGE}
    assert together(TEXT, told(TEXT, answer)) == answer


def test_logprobs_come_back() -> None:
    answer = chat({"content": "bug"})
    answer["choices"][0]["logprobs"] = {"content": [{"token": "bug", "logprob": -0.1}], "refusal": None}
    assert together(CHAT, told(CHAT, answer)) == answer


def test_usage_is_told_where_it_is_asked_for() -> None:
    *pieces, last = told(CHAT, ANSWERS["text"])
    assert (last["choices"], last["usage"]) == ([], USAGE)
    assert all(piece["usage"] is None for piece in pieces)
    assert all("usage" not in piece for piece in told(CHAT, ANSWERS["text"], usage=False))


def test_arguments_that_come_in_pieces_are_joined() -> None:
    def event(**call: Any) -> dict[str, Any]:
        delta = {"tool_calls": [{"index": 0, **call}]}
        return {**HEAD, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}

    events = [
        event(id="call_1", type="function", function={"name": "weather", "arguments": ""}),
        event(function={"arguments": '{"city":'}),
        event(function={"arguments": '"Graz"}'}),
        {**HEAD, "choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}], "usage": USAGE},
    ]
    answer = together(CHAT, events)
    assert answer is not None
    assert answer["choices"][0]["message"]["tool_calls"] == [CALL]


@pytest.mark.parametrize(
    "spoilt",
    [
        lambda events: [*events, {"error": {"message": "the engine died"}}],
        lambda events: events[:-1],
        lambda events: [*events[:-1], {**events[-1], "usage": None}],
        lambda events: [{"choices": [{"delta": {}}]}, *events],
        lambda events: [{"choices": 7}, *events],
        lambda events: [],
    ],
    ids=["error", "no usage", "usage null", "no index", "no choices", "nothing"],
)
def test_a_stream_that_did_not_end_well_is_no_answer(spoilt: Any) -> None:
    assert together(CHAT, spoilt(told(CHAT, ANSWERS["text"]))) is None


def test_a_stream_that_is_too_long_is_not_held() -> None:
    assert together(CHAT, told(CHAT, ANSWERS["text"]), most=100) is None
