"""Tools in a prompt: what a model may call, what it called, and what came back. The one wording of them.

Templates differ in how, and whether, they show tools; this is the same text for every model, and the same
JSON for every answer. Text alone; knows no model and no schema's keywords.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

ANSWER = "answer"
CALLS = "tool_calls"
NOTHING: Mapping[str, Any] = {"type": "object", "properties": {}, "additionalProperties": False}
"""The arguments of a function that takes none."""


@dataclass(frozen=True, kw_only=True)
class Offered:
    """A function that the model may call; `parameters` is the JSON schema of its arguments."""

    name: str
    description: str = ""
    parameters: Mapping[str, Any] = field(default_factory=lambda: dict(NOTHING))


@dataclass(frozen=True, kw_only=True)
class Call:
    """`arguments` is JSON text."""

    name: str
    arguments: str


def offer(tools: Sequence[Offered], *, must: bool) -> str:
    """What stands before the user's own words; `must` leaves no answer without a call."""
    lines = ["Tools:"]
    for tool in tools:
        lines.append(f"- {tool.name}: {tool.description}" if tool.description else f"- {tool.name}")
        lines.append(f"  arguments: {_json(tool.parameters)}")
    call = f'{{"{CALLS}":[{{"name":…,"arguments":{{…}}}}]}}'
    words = "" if must else f' to call tools, or {{"{ANSWER}":"…"}} to answer in words'
    return "\n".join((*lines, "", f"Answer with JSON: {call}{words}."))


def called(calls: Sequence[Call], said: str = "") -> str:
    """An earlier turn in which the model called."""
    listed = [f'{{"name":{_json(call.name)},"arguments":{call.arguments}}}' for call in calls]
    written = f'{{"{CALLS}":[{",".join(listed)}]}}'
    return f"{said}\n{written}" if said else written


def result(name: str, content: str) -> str:
    """What a call gave back."""
    return f"Result of {name}:\n{content}"


def schema(tools: Sequence[Offered], *, must: bool, parallel: bool) -> dict[str, Any]:
    """What an answer is held to: calls with arguments by their own schemas, or words where it need not call.

    Definitions that a schema of arguments refers to are lifted to the root, under the name of its tool.
    """
    shared: dict[str, Any] = {}
    each = [_object({"name": {"const": tool.name}, "arguments": _lifted(tool, shared)}) for tool in tools]
    items: dict[str, Any] = each[0] if len(each) == 1 else {"anyOf": each}
    listed: dict[str, Any] = {"type": "array", "items": items, "minItems": 1}
    if not parallel:
        listed["maxItems"] = 1
    calls = _object({CALLS: listed})
    whole = calls if must else {"anyOf": [_object({ANSWER: {"type": "string"}}), calls]}
    return {**whole, "$defs": shared} if shared else whole


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _lifted(tool: Offered, shared: dict[str, Any]) -> dict[str, Any]:
    """The schema of a tool's arguments, an object, its references turned to where its definitions go."""
    own = {key: value for key, value in tool.parameters.items() if key != "$schema"}
    for place in ("$defs", "definitions"):
        for name, definition in (own.pop(place, None) or {}).items():
            shared[f"{tool.name}.{name}"] = _referring(definition, tool.name)
    turned: dict[str, Any] = _referring(own, tool.name)
    return {**turned, "type": "object"}


def _referring(value: Any, tool: str) -> Any:
    if isinstance(value, list):
        return [_referring(one, tool) for one in value]
    if not isinstance(value, dict):
        return value
    turned = {key: _referring(one, tool) for key, one in value.items()}
    reference = turned.get("$ref")
    if isinstance(reference, str):
        for place in ("#/$defs/", "#/definitions/"):
            if reference.startswith(place):
                turned["$ref"] = f"#/$defs/{tool}.{reference.removeprefix(place)}"
    return turned


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
