"""What counts as a text: everything, but for the plain words of known keys and data in base64."""

from __future__ import annotations

from typing import Any

import pytest

from smallworks.server.guards import texts
from smallworks.server.openai import CHAT

B64 = "iVBORw0KGgo" * 60


def asked(said: dict[str, Any]) -> list[str]:
    return [slot.text for slot in texts.asked(said, CHAT, frozenset())]


@pytest.mark.parametrize(
    "said",
    [
        {"file_data": "data:text/plain,call bob@example.com now"},
        {"file_data": "data:text/plain;base64,call bob@example.com now"},
        {"url": "data:,hello"},
        {"messages": [{"role": "tool", "tool_call_id": "+491701234567"}]},
        {"documents": [{"id": "bob"}]},
        {"documents": [{"meta": {"type": "bob", "format": "b"}}]},
        {"metadata": {"id": "bob"}},
        {"messages": [{"content": [{"documents": [{"status": "bob"}]}]}]},
    ],
)
def test_texts_under_known_keys_are_looked_at(said: dict[str, Any]) -> None:
    assert asked(said)


@pytest.mark.parametrize(
    "said",
    [
        {"image_url": f"data:image/png;base64,{B64}=="},
        {"data": B64},
        {"messages": [{"role": "user", "tool_call_id": "call_12"}]},
        {"tools": [{"type": "function"}]},
    ],
)
def test_data_and_plain_words_are_not(said: dict[str, Any]) -> None:
    assert asked(said) == []


def test_what_a_response_says_again_of_its_request_is_no_part_of_its_answer() -> None:
    response = {
        "object": "response",
        "instructions": "a",
        "metadata": {"x": "a"},
        "tools": [{"description": "a"}],
        "text": {"format": {"name": "a b"}},
        "output": [{"type": "message", "content": [{"type": "output_text", "text": "b"}]}],
    }
    for said in (response, {"type": "response.completed", "response": response}):
        assert [slot.text for slot in texts.told(said)] == ["b"]
        assert [slot.text for slot in texts.said_again(said)] == ["a", "a", "a", "a b"]
    chat = {"object": "chat.completion", "text": "b"}
    assert [slot.text for slot in texts.told(chat)] == ["b"] and not texts.said_again(chat)


def test_a_mark_inside_documents_still_makes_their_texts_untrusted() -> None:
    said = {"documents": [{"type": "quoted", "text": "a b"}], "messages": [{"content": "c d"}]}
    slots = texts.asked(said, CHAT, frozenset({"quoted"}))
    assert {slot.text: slot.untrusted for slot in slots} == {"quoted": True, "a b": True, "c d": False}
