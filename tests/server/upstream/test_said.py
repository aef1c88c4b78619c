"""JSON objects on their way to a server and back."""

from __future__ import annotations

import json
from typing import Any

import pytest

from smallworks.server.reply import to_bytes
from smallworks.server.upstream.failed import Failed
from smallworks.server.upstream.said import (
    PART,
    check_status,
    event,
    most_tokens,
    named,
    parsed,
    usage,
    written,
)
from smallworks.server.usage import asking_none, wants_usage, with_usage, without_usage


def test_the_most_tokens_are_the_bytes_and_the_limit_of_every_answer() -> None:
    assert most_tokens("/completions", {"prompt": "abc"}, 20, 4096) == 20 + 4096
    assert most_tokens("/completions", {"max_tokens": 10, "n": 3}, 20, 4096) == 20 + 30
    assert most_tokens("/chat/completions", {"max_completion_tokens": 10, "max_tokens": 99}, 20, 1) == 119
    assert most_tokens("/chat/completions", {"max_output_tokens": 1}, 20, 4096) == 20 + 4096
    assert most_tokens("/responses", {"max_output_tokens": 7, "max_tokens": 1}, 20, 4096) == 27
    assert most_tokens("/completions", {"max_tokens": 10, "n": 2, "best_of": 5}, 20, 1) == 20 + 50
    assert most_tokens("/completions", {"max_tokens": 10, "n": 200}, 20, 1) == 20 + 2000
    assert most_tokens("/completions", {"max_tokens": -5, "n": "x"}, 20, 1) == 21
    assert most_tokens("/completions", {"max_tokens": 10**30}, 20, 1) < 2**40
    assert most_tokens("/embeddings", {"input": "abc"}, 20, 4096) == 20


def test_an_image_is_not_a_token_a_byte() -> None:
    image = {"type": "image_url", "image_url": {"url": "x" * 100_000}}
    said = {
        "messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}, image]}],
        "max_tokens": 1,
    }
    size = len(json.dumps(said))
    assert PART < most_tokens("/chat/completions", said, size, 1) < PART + 300


@pytest.mark.parametrize(
    "part", [{"type": "refusal", "refusal": "x" * 9000}, {"type": "thinking", "thinking": "x" * 9000}]
)
def test_a_text_in_another_field_is_a_text(part: dict[str, Any]) -> None:
    said = {"messages": [{"role": "assistant", "content": [part]}], "max_tokens": 1}
    assert most_tokens("/chat/completions", said, len(json.dumps(said)), 1) > 9000


def test_usage_is_asked_for_beside_other_options_and_hidden_again() -> None:
    said = with_usage({"stream": True, "stream_options": {"include_usage": False, "x": 1}})
    assert said["stream_options"] == {"include_usage": True, "x": 1}
    assert wants_usage(said)
    assert asking_none(said) == {"stream": True, "stream_options": {"x": 1}}
    assert asking_none(with_usage({"stream": True})) == {"stream": True}
    assert without_usage({"choices": [], "usage": {"prompt_tokens": 1}}) is None
    assert without_usage({"choices": [1], "usage": None}) == {"choices": [1]}
    assert without_usage({"choices": [1]}) == {"choices": [1]}


@pytest.mark.parametrize(
    ("said", "counts"),
    [
        ({"usage": {"prompt_tokens": 3, "completion_tokens": 4}}, (3, 4)),
        ({"usage": {"input_tokens": 3, "output_tokens": 4}}, (3, 4)),
        ({"response": {"usage": {"input_tokens": 3, "output_tokens": 4}}}, (3, 4)),
        ({"usage": {"prompt_tokens": 3}}, (3, 0)),
        ({"usage": {"prompt_tokens": -3, "completion_tokens": "4"}}, None),
        ({"usage": [1]}, None),
        ({}, None),
    ],
)
def test_usage_in_every_form(said: dict[str, Any], counts: tuple[int, int] | None) -> None:
    assert usage(said) == counts


def test_what_was_written_is_measured_in_any_form() -> None:
    assert written({"choices": [{"delta": {"content": "ab"}}, {"text": "c"}, 7, {"delta": None}]}) == 3
    assert written({"choices": "x"}) == 0


def test_what_was_thought_or_given_to_a_tool_was_written_too() -> None:
    call = {"index": 0, "function": {"name": "find", "arguments": '{"a"'}}
    assert written({"choices": [{"delta": {"tool_calls": [call, 7, {"function": None}]}}]}) == 4
    assert written({"choices": [{"delta": {"content": None, "reasoning_content": "hmm"}}]}) == 3
    assert written({"choices": [{"message": {"function_call": {"arguments": "{}"}, "content": "a"}}]}) == 3
    assert written({"type": "response.output_text.delta", "delta": "Hello"}) == 5
    assert written({"type": "response.output_text.done", "delta": {"a": 1}}) == 0


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"nope", b"[" * 99_999, b'{"error": {"message": "x"}}', b"\xff"]
)
def test_what_is_no_object_is_garbage(body: bytes) -> None:
    with pytest.raises(Failed):
        parsed(body)


@pytest.mark.parametrize(
    ("status", "cause"),
    [(302, "redirected"), (401, "denied"), (429, "busy"), (500, "status"), (408, "status"), (404, "refused")],
)
def test_every_status_has_its_cause(status: int, cause: str) -> None:
    with pytest.raises(Failed) as failed:
        check_status(status, {b"retry-after": b"7"}, b'{"error": "no"}')
    assert failed.value.cause == cause
    assert failed.value.seconds == (7 if cause in ("busy", "status") else 0)


@pytest.mark.parametrize("sent", [b"Wed, 21 Oct 2026 07:28:00 GMT", b"-1", b"nan", b"1e99", b""])
def test_a_pause_that_cannot_be_read_is_a_second(sent: bytes) -> None:
    with pytest.raises(Failed) as failed:
        check_status(429, {b"retry-after": sent})
    assert failed.value.seconds == 1.0


@pytest.mark.parametrize(
    ("body", "as_it_came"),
    [
        (b'{"model": "m", "a": 1}', True),
        (b'{"response": {"model": "m"}}', True),
        (b'{"a": "\\u00e9 \\"model\\""}', True),
        (b'{"model": "own", "model": "m"}', False),
        (b'{"mo\\u0064el": "own", "model": "m"}', False),
        (b'{"response": {"model": "own"}, "response": {}}', False),
        (b'{"model": "own"}', False),
    ],
)
def test_a_servers_own_name_is_never_told_whatever_is_said_twice(body: bytes, as_it_came: bool) -> None:
    for read in (parsed, event):
        told = named(read(body), "m")
        assert (to_bytes(told) == body) == as_it_came
        assert b"own" not in to_bytes(told)
