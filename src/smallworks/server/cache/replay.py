"""A streamed answer put together, and a whole one told as a stream: the two are one entry of the cache."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from smallworks.server.hosts import Said

KINDS = {
    "/chat/completions": ("chat.completion", "chat.completion.chunk"),
    "/completions": ("text_completion", "text_completion"),
}
"""The `object` of a whole answer and of an event, by the forms that can be told either way."""
NAMED = ("id", "object", "created", "model")
"""What every answer and event begins with."""
BODY = frozenset({"choices", "usage", "object"})
EVENT = 64
"""Bytes that an event may leave behind beside its text: log-probabilities, a piece of a call."""
LAST = "smallworks"
"""What rides on the last piece, not on the opening."""


class Replay:
    """The events of a kept answer: an opening, each choice as one piece, the usage where it is asked for."""

    def __init__(self, form: str, answer: Said, *, usage: bool) -> None:
        self._events = list(_told(form, answer, usage))

    async def take(self) -> list[Said]:
        events, self._events = self._events, []
        return events

    def close(self) -> None:
        """Nothing is under way."""


class Whole:
    """Takes the events of one streamed answer and becomes the answer. `None` where it did not end well."""

    def __init__(self, form: str, most: int) -> None:
        self._kind = KINDS[form][0]
        self._chat = form == "/chat/completions"
        self._most = most
        self._head: Said = {}
        self._choices: dict[int, Said] = {}
        self._usage: Any = None
        self._broken = False

    def add(self, event: Said) -> None:
        """What cannot be followed is never kept; whoever streams it is not troubled."""
        if self._broken:
            return
        try:
            self._add(event)
        except (TypeError, ValueError, AttributeError, KeyError, IndexError):
            self._broken = True
        self._most -= EVENT
        self._broken = self._broken or self._most < 0 or "error" in event

    def answer(self) -> Said | None:
        """None too where no usage came: a whole answer has to tell it."""
        if self._broken or not self._choices or not isinstance(self._usage, dict):
            return None
        choices = [self._choices[index] for index in sorted(self._choices)]
        head = {**self._head, "object": self._kind}
        named: Said = {name: head.pop(name) for name in NAMED if name in head}
        return {**named, "choices": choices, "usage": self._usage, **head}

    def _add(self, event: Said) -> None:
        self._head.update({name: value for name, value in event.items() if name not in BODY})
        self._usage = event.get("usage") or self._usage
        for choice in event.get("choices", ()):
            index = choice["index"]
            if self._chat:
                self._chat_choice(index, choice)
            else:
                self._text_choice(index, choice)

    def _chat_choice(self, index: int, choice: Said) -> None:
        message: Said = {"role": "assistant", "content": None, "refusal": None}
        whole = self._choices.setdefault(index, _begun(index, "message", message))
        _merge_ends(whole, choice)
        for name, value in (choice.get("delta") or {}).items():
            if name == "role":
                whole["message"][name] = value
            elif name == "tool_calls":
                _merge_calls(whole["message"].setdefault(name, []), value or ())
            elif isinstance(value, str):
                self._most -= len(value)
                whole["message"][name] = (whole["message"].get(name) or "") + value
            elif value is not None:
                raise ValueError(name)
        if whole["message"].get("tool_calls") and not whole["message"]["content"]:
            whole["message"]["content"] = None

    def _text_choice(self, index: int, choice: Said) -> None:
        whole = self._choices.setdefault(index, _begun(index, "text", ""))
        _merge_ends(whole, choice)
        self._most -= len(choice.get("text") or "")
        whole["text"] += choice.get("text") or ""


def _begun(index: int, name: str, value: Any) -> Said:
    return {"index": index, name: value, "logprobs": None, "finish_reason": None}


def _merge_ends(whole: Said, choice: Said) -> None:
    """The end and the log-probabilities, whose lists follow one another."""
    whole["finish_reason"] = choice.get("finish_reason") or whole["finish_reason"]
    more = choice.get("logprobs")
    if not more:
        return
    have = whole["logprobs"] = whole["logprobs"] or {}
    for name, value in more.items():
        if isinstance(value, list) and isinstance(have.get(name), list):
            have[name] = have[name] + value
        elif value is not None or name not in have:
            have[name] = value


def _merge_calls(calls: list[Said], more: Any) -> None:
    """Tool calls come in pieces by their index; the arguments are a text that grows."""
    for piece in more:
        at = piece["index"]
        if at == len(calls):
            calls.append({"id": "", "type": "function", "function": {"name": "", "arguments": ""}})
        call = calls[at]
        call.update({k: v for k, v in piece.items() if k not in ("index", "function") and v is not None})
        said = piece.get("function") or {}
        call["function"]["name"] += said.get("name") or ""
        call["function"]["arguments"] += said.get("arguments") or ""


def _told(form: str, answer: Said, usage: bool) -> Any:
    kind = KINDS[form][1]
    named: Said = {name: answer[name] for name in NAMED if name in answer}
    rest = {name: value for name, value in answer.items() if name not in BODY and name not in named}
    head = {**named, "object": kind, **{name: value for name, value in rest.items() if name != LAST}}
    last: Said = {LAST: rest[LAST]} if LAST in rest else {}
    none: Said = {"usage": None} if usage else {}
    choices = answer["choices"]
    if form == "/chat/completions":
        for choice in choices:
            first = {"role": choice["message"].get("role", "assistant"), "content": ""}
            opening = {"index": choice["index"], "delta": first, "finish_reason": None}
            yield {**head, "choices": [opening], **none}
        pieces = [_chat_piece(choice) for choice in choices]
    else:
        pieces = [dict(choice) for choice in choices]
    for piece in pieces:
        yield {**head, "choices": [piece], **none, **(last if piece is pieces[-1] else {})}
    if usage:
        yield {**head, "choices": [], "usage": answer.get("usage")}


def _chat_piece(choice: Mapping[str, Any]) -> Said:
    message = choice["message"]
    delta = {name: value for name, value in message.items() if name != "role" and value is not None}
    if "tool_calls" in delta:
        delta["tool_calls"] = [{"index": at, **call} for at, call in enumerate(delta["tool_calls"])]
    rest = {name: value for name, value in choice.items() if name not in ("message", "index")}
    return {"index": choice["index"], "delta": delta, **rest}
