"""What was said and answered on each route, as named inputs and answers. Knows no store.

What passes the guards is kept: personal data that they mask is masked here too.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from smallworks.server.hosts import Events, Form, Said
from smallworks.server.reply import to_object
from smallworks.server.visit import Visit

Inputs = dict[str, str]
MOST = 200_000
"""Characters of a streamed answer that are kept."""
MOST_DRAWS, MOST_ANSWERS = 128, 4096
"""Answers to one input, and to one request, that any server gives."""


def inputs(path: str, said: Said) -> tuple[Inputs, ...]:
    """One entry for each text that is to be answered."""
    if path == "/chat/completions":
        return (_conversation(said.get("messages")),)
    if path == "/responses":
        return (_conversation(_messages(said)),)
    if path == "/generate":
        return ({"input": str(said.get("input_text", ""))},)
    many = said.get("input" if path == "/classify" else "prompt", said.get("input", ""))
    return tuple(_named(each) for each in (many if isinstance(many, list) else [many]))


def outputs(told: Said) -> tuple[str, ...]:
    """The answers to each input, in order."""
    if "choices" in told:
        return tuple(_choice(choice) for choice in told["choices"])
    if "output" in told:
        return (_items(told["output"]),)
    return tuple(str(item.get("label", "")) for item in told.get("data", ()) if isinstance(item, dict))


class ContentEvents:
    """The events of a stream, its texts kept in passing. Implements hosts.Events."""

    def __init__(self, events: Events, content: dict[str, Any]) -> None:
        self._events, self._content = events, content
        places = min(len(content["inputs"]) * content["draws"], MOST_ANSWERS)
        self._texts: dict[int, list[str]] = {at: [] for at in range(places)}
        self._size = 0

    async def take(self) -> list[Said]:
        batch = await self._events.take()
        for event in batch:
            if event.get("type") == "response.output_text.delta":
                self._keep(0, str(event.get("delta", "")))
            for choice in event.get("choices") or ():
                self._keep(choice.get("index", 0), _choice(choice))
        return batch

    def _keep(self, at: int, text: str) -> None:
        self._size += len(text)
        if self._size <= MOST:
            self._texts.setdefault(at, []).append(text)

    def close(self) -> None:
        self._content["outputs"] = tuple("".join(texts) for _, texts in sorted(self._texts.items()))
        self._events.close()


class Keeper:
    """Notes on the visit what was said and told, where `wants` says so."""

    def __init__(self, wants: Callable[[Visit], bool]) -> None:
        self._wants = wants

    def before(self, visit: Visit, form: Form, said: Said) -> bool:
        """Whether what is said now is to be kept; then it is noted."""
        if not self._wants(visit):
            return False
        visit.content = {"inputs": inputs(form.path, said), "draws": _draws(said)}
        return True

    def events(self, visit: Visit, events: Events) -> Events:
        assert visit.content is not None
        return ContentEvents(events, visit.content)

    def after(self, visit: Visit, told: Said | bytes) -> None:
        assert visit.content is not None
        visit.content["outputs"] = outputs(to_object(told))


def _draws(said: Said) -> int:
    """Answers to each input. What is none of ours is refused later, or answered elsewhere."""
    draws = said.get("n")
    return draws if type(draws) is int and 1 <= draws <= MOST_DRAWS else 1


def _items(output: Any) -> str:
    """What the items of a response say; a bundle's own route says it as one text."""
    if not isinstance(output, list):
        return str(output)
    said = (item for item in output if isinstance(item, dict) and item.get("type") == "message")
    return "".join(_text(item.get("content")) for item in said)


def _messages(said: Said) -> Any:
    """The conversation of a response's request."""
    asked = said.get("input", "")
    turns = asked if isinstance(asked, list) else [{"role": "user", "content": asked}]
    instructions = said.get("instructions")
    return [{"role": "system", "content": instructions}, *turns] if instructions else turns


def _choice(choice: Said) -> str:
    said = choice.get("message") or choice.get("delta") or {}
    return str(said.get("content") or choice.get("text") or "")


def _conversation(messages: Any) -> Inputs:
    """The one user message, or the whole conversation where there is more to it."""
    if not isinstance(messages, Sequence) or isinstance(messages, str):
        return {"input": ""}
    users = [one for one in messages if isinstance(one, dict) and one.get("role") == "user"]
    if len(users) == 1 and all(isinstance(m, dict) and m.get("role") in ("user", "system") for m in messages):
        return {"input": _text(users[0].get("content"))}
    return {"input": json.dumps(messages, ensure_ascii=False)}


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    parts = [part.get("text", "") for part in content or () if isinstance(part, dict)]
    return "".join(map(str, parts))


def _named(item: Any) -> Inputs:
    if isinstance(item, dict):
        return {str(name): str(value) for name, value in item.items()}
    return {"input": str(item)}
