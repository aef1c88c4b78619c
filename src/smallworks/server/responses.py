"""/v1/responses: a request turned into a chat request, its answer worded as items and named events.

Nothing is stored between requests: earlier turns come with each.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import Field

from smallworks.engines.predictor import Predictor
from smallworks.server import ask
from smallworks.server.ask import Asks, Piece
from smallworks.server.calling import Called
from smallworks.server.failures import BadField
from smallworks.server.hosts import Said
from smallworks.server.shapes import MAX_TOOLS, ChatRequest, Drawing, Shape, Text, Tokens, checked
from smallworks.server.wording import StreamWording, extra
from smallworks.types import Answer

NAMES = {"messages": "input", "response_format": "text.format", "max_tokens": "max_output_tokens"}
"""What a field of the chat is called here."""


class InputText(Shape):
    type: Literal["input_text", "output_text", "text"]
    text: Text


class InputMessage(Shape):
    type: Literal["message"] = "message"
    role: Literal["system", "developer", "user", "assistant"]
    content: Text | Annotated[list[InputText], Field(fail_fast=True)]


class FunctionCall(Shape):
    type: Literal["function_call"]
    call_id: Text
    name: Text
    arguments: Text


class FunctionOutput(Shape):
    type: Literal["function_call_output"]
    call_id: Text
    output: Text | Annotated[list[InputText], Field(fail_fast=True)]


class Format(Shape):
    type: Literal["text", "json_object", "json_schema"]
    name: Text | None = None
    schema_: dict[str, Any] | None = Field(None, alias="schema")
    strict: bool | None = None


class TextOptions(Shape):
    format: Format | None = None


class FunctionTool(Shape):
    type: Literal["function"]
    name: Text
    description: Text | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class NamedChoice(Shape):
    type: Literal["function"]
    name: Text


class ResponsesRequest(Drawing):
    input: (
        Text
        | Annotated[list[InputMessage | FunctionCall | FunctionOutput], Field(fail_fast=True, min_length=1)]
    )
    instructions: Text | None = None
    max_output_tokens: Tokens | None = None
    stream: bool | None = None
    text: TextOptions | None = None
    tools: Annotated[list[FunctionTool], Field(fail_fast=True, max_length=MAX_TOOLS)] | None = None
    tool_choice: Literal["none", "auto", "required"] | NamedChoice | None = None
    parallel_tool_calls: bool | None = None
    metadata: dict[str, Any] | None = None
    previous_response_id: Any = None
    conversation: Any = None
    background: bool | None = None
    prompt: Any = None


def from_responses(body: ResponsesRequest, predictor: Predictor) -> Asks:
    """Raises BadField, under the names that the fields have here, for what this bundle cannot honour."""
    for name in ("previous_response_id", "conversation", "prompt"):
        if getattr(body, name):
            raise BadField(
                f"'{name}' names what is stored, and nothing is stored here.",
                fix="Send the earlier turns in 'input'.",
                param=name,
            )
    if body.background:
        raise BadField("Nothing runs in the background here.", fix="Leave it out.", param="background")
    try:
        return ask.from_chat(checked(ChatRequest, _chat(body)), predictor)
    except BadField as error:
        name = (error.param or "").partition(".")[0]
        raise BadField(error.what, fix=error.fix, param=NAMES.get(name, error.param)) from error


def _chat(body: ResponsesRequest) -> Said:
    messages: list[Said] = []
    if body.instructions:
        messages.append({"role": "system", "content": body.instructions})
    items = [InputMessage(role="user", content=body.input)] if isinstance(body.input, str) else body.input
    for item in items:
        _add(messages, item)
    chat = {
        "messages": messages,
        "max_tokens": body.max_output_tokens,
        "temperature": body.temperature,
        "top_p": body.top_p,
        "response_format": _format(body),
        "tools": [_tool(tool) for tool in body.tools] if body.tools else None,
        "tool_choice": _choice(body.tool_choice),
        "parallel_tool_calls": body.parallel_tool_calls,
    }
    return {name: value for name, value in chat.items() if value is not None}


def _add(messages: list[Said], item: InputMessage | FunctionCall | FunctionOutput) -> None:
    """Calls that follow each other are one turn of the assistant."""
    if isinstance(item, InputMessage):
        messages.append({"role": item.role, "content": _text(item.content)})
    elif isinstance(item, FunctionOutput):
        messages.append({"role": "tool", "tool_call_id": item.call_id, "content": _text(item.output)})
    else:
        function = {"name": item.name, "arguments": item.arguments}
        call = {"id": item.call_id, "type": "function", "function": function}
        if messages and "tool_calls" in messages[-1]:
            messages[-1]["tool_calls"].append(call)
        else:
            messages.append({"role": "assistant", "content": None, "tool_calls": [call]})


def _text(content: str | list[InputText]) -> str:
    return content if isinstance(content, str) else "".join(part.text for part in content)


def _format(body: ResponsesRequest) -> Said | None:
    wanted = body.text.format if body.text else None
    if wanted is None:
        return None
    if wanted.type != "json_schema":
        return {"type": wanted.type}
    if wanted.schema_ is None:
        raise BadField("There is no schema.", fix="Put it at text.format.schema.", param="text.format.schema")
    return {"type": "json_schema", "json_schema": {"schema": wanted.schema_}}


def _tool(tool: FunctionTool) -> Said:
    function = {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
    return {"type": "function", "function": function}


def _choice(choice: str | NamedChoice | None) -> str | Said | None:
    if isinstance(choice, NamedChoice):
        return {"type": "function", "function": {"name": choice.name}}
    return choice


@dataclass(frozen=True, kw_only=True)
class ResponsesWording(StreamWording):
    """One answer as output items: a message, or calls. `body` is what was asked."""

    body: ResponsesRequest
    done: list[Said] = field(default_factory=list)
    begun: list[str] = field(default_factory=list)
    """The text of the message that is being told, once it has begun."""
    count: list[int] = field(default_factory=lambda: [0])
    """Events so far."""

    prefix = "resp_"

    def reply(self, answers: Sequence[Answer]) -> Said:
        (answer,) = answers
        words, calls = self.read(0, answer.text)
        status = _status(answer)
        items = [_called(call) for call in calls] or [_message(f"msg_{self.id}", words, status)]
        return {**self._response(status, items, answer), **extra(answer)}

    def opening(self) -> list[Said]:
        response = self._response("in_progress", [], None)
        return [self._event(f"response.{name}", response=response) for name in ("created", "in_progress")]

    def events(self, piece: Piece) -> list[Said]:
        words, calls = self.read(0, piece.text)
        told = list(self._words(words)) if words else []
        for call in calls:
            told += self._call(call)
        return told

    def closing(self, answers: Sequence[Answer]) -> list[Said]:
        (answer,) = answers
        status = _status(answer)
        told = [] if self.done else list(self._end(status))
        response = {**self._response(status, self.done, answer), **extra(answer)}
        return [*told, self._event(f"response.{status}", response=response)]

    def choice(self, index: int, answer: Answer) -> Said:
        raise NotImplementedError("a response has items, no choices")

    def delta(self, piece: Piece) -> Said:
        raise NotImplementedError("a response has items, no choices")

    def _words(self, words: str) -> Iterator[Said]:
        if not self.begun:
            yield from self._begin()
        self.begun.append(words)
        yield self._event("response.output_text.delta", **self._part_place(), delta=words, logprobs=[])

    def _begin(self) -> Iterator[Said]:
        self.begun.append("")
        item = {**_message(f"msg_{self.id}", "", "in_progress"), "content": []}
        yield self._event("response.output_item.added", output_index=0, item=item)
        yield self._event("response.content_part.added", **self._part_place(), part=_part(""))

    def _end(self, status: str) -> Iterator[Said]:
        if not self.begun:
            yield from self._begin()
        text = "".join(self.begun)
        yield self._event("response.output_text.done", **self._part_place(), text=text, logprobs=[])
        yield self._event("response.content_part.done", **self._part_place(), part=_part(text))
        self.done.append(_message(f"msg_{self.id}", text, status))
        yield self._event("response.output_item.done", output_index=0, item=self.done[0])

    def _call(self, call: Called) -> list[Said]:
        item = _called(call)
        at = {"output_index": len(self.done)}
        place = {"item_id": item["id"], **at}
        self.done.append(item)
        started = {**item, "arguments": "", "status": "in_progress"}
        name = "response.function_call_arguments"
        return [
            self._event("response.output_item.added", **at, item=started),
            self._event(f"{name}.delta", **place, delta=call.arguments),
            self._event(f"{name}.done", **place, name=call.name, arguments=call.arguments),
            self._event("response.output_item.done", **at, item=item),
        ]

    def _part_place(self) -> Said:
        return {"item_id": f"msg_{self.id}", "output_index": 0, "content_index": 0}

    def _event(self, kind: str, **said: Any) -> Said:
        number = self.count[0]
        self.count[0] += 1
        return {"type": kind, "sequence_number": number, **said}

    def _response(self, status: str, items: Sequence[Said], answer: Answer | None) -> Said:
        body = self.body
        sent = body.model_dump(by_alias=True, exclude_none=True)
        return {
            "id": self.prefix + self.id,
            "object": "response",
            "created_at": self.created,
            "status": status,
            "error": None,
            "incomplete_details": {"reason": "max_output_tokens"} if status == "incomplete" else None,
            "instructions": body.instructions,
            "max_output_tokens": body.max_output_tokens,
            "model": self.model,
            "output": list(items),
            "parallel_tool_calls": body.parallel_tool_calls is not False,
            "previous_response_id": None,
            "store": False,
            "temperature": body.temperature,
            "text": sent.get("text") or {"format": {"type": "text"}},
            "tool_choice": sent.get("tool_choice") or "auto",
            "tools": [{"strict": True, **tool} for tool in sent.get("tools", ())],
            "top_p": body.top_p,
            "truncation": "disabled",
            "usage": _usage(answer) if answer else None,
            "metadata": body.metadata or {},
        }


def _status(answer: Answer) -> str:
    return "incomplete" if answer.finish == "length" else "completed"


def _part(text: str) -> Said:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _message(id: str, text: str, status: str) -> Said:
    return {"id": id, "type": "message", "role": "assistant", "status": status, "content": [_part(text)]}


def _called(call: Called) -> Said:
    return {
        "id": f"fc_{secrets.token_hex(12)}",
        "type": "function_call",
        "call_id": call.id,
        "name": call.name,
        "arguments": call.arguments,
        "status": "completed",
    }


def _usage(answer: Answer) -> Mapping[str, Any]:
    return {
        "input_tokens": answer.tokens_in,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": answer.tokens_out,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": answer.tokens_in + answer.tokens_out,
    }
