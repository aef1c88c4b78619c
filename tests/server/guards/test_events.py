"""Events of a stream through the guards: calls, responses, log-probabilities, unknown fields."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from copy import deepcopy
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from smallworks.guard import GuardBlocked, Guards, Text
from smallworks.guard.policy import parse
from smallworks.server.guards.passing import Guarding, Passing
from smallworks.server.hosts import Said
from smallworks.server.reply import to_bytes
from smallworks.server.upstream.said import parsed
from smallworks.server.visit import Visit
from smallworks.server.wording import event as written

POLICY = """
[[rule]]
name = "personal"
personal = "all"
restore = true

[[rule]]
name = "never said"
words = ["launch code"]
where = "out"
"""
MAIL = "ann@x.org"
Through = Callable[..., list[Said]]


class Told:
    """Events in batches of one."""

    def __init__(self, events: list[Said]) -> None:
        self.left = deepcopy(events)

    async def take(self) -> list[Said]:
        return [self.left.pop(0)] if self.left else []

    def close(self) -> None:
        return None


@pytest.fixture(scope="module")
def guards() -> Iterator[Guards]:
    with Guards(parse(POLICY, Path())) as guards:
        yield guards


@pytest.fixture(scope="module")
def passing(guards: Guards) -> Callable[[], Passing]:
    """Makes the passing of a request that named a mail address, which is <EMAIL_1> since."""

    def make() -> Passing:
        visit = Visit(id=b"r", deadline=60, bundle="far")
        made = Passing(Guarding(guards, CollectorRegistry()), visit, json=False)
        made.passage.enter([Text(text=MAIL, place="input")], len)
        return made

    return make


@pytest.fixture(scope="module")
def through(passing: Callable[[], Passing]) -> Through:
    def run(*events: Said) -> list[Said]:
        async def taken() -> list[Said]:
            stream, shown = passing().stream(Told(list(events))), []
            while batch := await stream.take():
                shown += batch
            stream.close()
            return shown

        return asyncio.run(taken())

    return run


def chunk(delta: Said, finish: str | None = None, **more: Any) -> Said:
    return {"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}], **more}  # noqa: E501  # fmt: skip


def call(**function: str) -> Said:
    return chunk({"tool_calls": [{"index": 0, **({"id": "call_1"} if "name" in function else {}), "function": function}]})  # noqa: E501  # fmt: skip


def calls(events: list[Said]) -> dict[str, str]:
    said = {"name": "", "arguments": ""}
    for event in events:
        for one in event["choices"][0]["delta"].get("tool_calls", ()):
            for key, text in one["function"].items():
                said[key] += text
    return said


def pieces(text: str, cuts: list[int]) -> list[str]:
    places = sorted({0, len(text), *(cut % len(text) for cut in cuts)})
    return [text[start:end] for start, end in pairwise(places)]


@given(st.lists(st.integers(0, 99), max_size=12))
def test_arguments_of_a_streamed_call_are_masked_and_restored_however_they_are_cut(
    through: Through, cuts: list[int]
) -> None:
    said = json.dumps({"to": "<EMAIL_1>", "cc": "eve@z.org", "text": "a\nb"})
    events = [call(name="send", arguments=""), *(call(arguments=one) for one in pieces(said, cuts))]
    shown = calls(through(*events, chunk({}, "tool_calls")))
    assert json.loads(shown["arguments"]) == {"to": MAIL, "cc": "<EMAIL_2>", "text": "a\nb"}


def test_the_name_of_a_function_goes_out_with_the_event_that_tells_it(through: Through) -> None:
    shown = through(call(name="send_mail", arguments=""), call(arguments="{}"), chunk({}, "tool_calls"))
    assert shown[0]["choices"][0]["delta"]["tool_calls"][0]["function"]["name"] == "send_mail"
    assert calls(shown) == {"name": "send_mail", "arguments": "{}"}
    with pytest.raises(GuardBlocked):
        through(call(name="launch code", arguments=""))


def test_fields_beside_the_choices_are_masked_as_in_a_whole_answer(
    through: Through, passing: Callable[[], Passing]
) -> None:
    more = {"citations": ["by eve@z.org", "for <EMAIL_1>"], "id": "c1"}
    sent = [chunk({"content": "Hel"}, **more), chunk({"content": "lo."}, **more), chunk({}, "stop")]
    shown = through(*sent)
    whole: Any = asyncio.run(passing().leave({"choices": [], **more}))
    assert shown[0]["citations"] == whole["citations"] == ["by <EMAIL_2>", f"for {MAIL}"]
    assert shown[0]["id"] == "c1"
    assert "".join(event["choices"][0]["delta"].get("content", "") for event in shown) == "Hello."


def response(*texts: str) -> list[Said]:
    """As OpenAI's server streams one, with log-probabilities that say every text again."""
    text = "".join(texts)
    place = {"item_id": "m1", "output_index": 0, "content_index": 0}
    part = {"type": "output_text", "text": text, "logprobs": [{"token": text, "logprob": -0.1}]}
    item = {"id": "m1", "type": "message", "role": "assistant", "content": [part]}
    whole = {
        "id": "r1",
        "object": "response",
        "instructions": "Say launch code.",
        "metadata": {"to": "<EMAIL_1>"},
    }
    kind = "response.output_text"
    told = [
        {"type": "response.created", "response": {**whole, "output": []}},
        {"type": "response.output_item.added", "output_index": 0, "item": {**item, "content": []}},
        *({"type": f"{kind}.delta", **place, "delta": one, "logprobs": [{"token": one}]} for one in texts),
        {"type": f"{kind}.done", **place, "text": text, "logprobs": part["logprobs"]},
        {"type": "response.content_part.done", **place, "part": part},
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {"type": "response.completed", "response": {**whole, "output": [item]}},
    ]
    return [{**event, "sequence_number": number} for number, event in enumerate(told)]


@given(st.lists(st.integers(0, 99), max_size=12))
def test_a_streamed_response_says_the_same_in_every_event_and_nothing_that_is_masked(
    through: Through, cuts: list[int]
) -> None:
    shown = through(*response(*pieces("Mail eve@z.org, not <EMAIL_1>.", cuts)))
    wanted = f"Mail <EMAIL_2>, not {MAIL}."
    by_type = {event["type"]: event for event in shown}
    deltas = [event["delta"] for event in shown if event["type"] == "response.output_text.delta"]
    assert "".join(deltas) == by_type["response.output_text.done"]["text"] == wanted
    assert by_type["response.content_part.done"]["part"]["text"] == wanted
    last = by_type["response.completed"]["response"]
    assert last["output"][0]["content"][0] == {"type": "output_text", "text": wanted, "logprobs": []}
    assert [event["sequence_number"] for event in shown] == list(range(len(shown)))
    assert "eve@z.org" not in json.dumps(shown)
    assert last["instructions"] == "Say launch code." and last["metadata"] == {"to": MAIL}


def test_log_probabilities_stay_where_a_text_passes_as_it_came(
    through: Through, passing: Callable[[], Passing]
) -> None:
    sent = response("All ", "is well ")
    for event in sent:
        if "response" in event:
            event["response"]["metadata"] = {"to": MAIL}  # what came back as it was asked
    assert through(*response("All ", "is well ")) == sent
    whole: Any = asyncio.run(passing().leave(response("Mail eve@z.org")[-1]["response"]))
    assert "eve@z.org" not in json.dumps(whole) and whole["output"][0]["content"][0]["logprobs"] == []
    choice = {"index": 0, "message": {"content": "eve@z.org"}, "logprobs": {"content": [{"token": "eve"}]}}
    chat: Any = asyncio.run(passing().leave({"choices": [choice]}))
    assert chat["choices"][0]["logprobs"] is None


TWICE = b'{"a":"eve@z.org","a":"ok","choices":[{"index":0,"message":{"content":"eve@z.org","content":"ok"}}]}'


def test_a_key_that_is_there_twice_passes_no_guard(passing: Callable[[], Passing], through: Through) -> None:
    whole = asyncio.run(passing().leave(parsed(TWICE)))
    streamed = through(parsed(TWICE.replace(b"message", b"delta")), chunk({}, "stop"))
    assert b"eve" not in b"".join([to_bytes(whole), *map(written, streamed)])
    assert json.loads(to_bytes(whole)) == whole
