"""The messages of a chat request as turns that a bundle reads, and the tools it may call. Knows no predictor.

Calls and their results become plain turns: templates differ in what roles they know, and all know these.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from smallworks.prompt import tools
from smallworks.prompt.tools import Call, Offered
from smallworks.server.failures import BadField
from smallworks.server.shapes import ChatMessage, ChatRequest, NamedTool
from smallworks.types import Message, Role


@dataclass(frozen=True, kw_only=True)
class Calling:
    """What a request lets the model call; `must` leaves no answer without a call."""

    offered: tuple[Offered, ...]
    must: bool
    parallel: bool

    @property
    def offer(self) -> str:
        return tools.offer(self.offered, must=self.must)

    @property
    def schema(self) -> dict[str, object]:
        return tools.schema(self.offered, must=self.must, parallel=self.parallel)


def calling(body: ChatRequest) -> Calling | None:
    """The tools of a request; None where nothing is to be called. Raises BadField for a choice of none."""
    choice = body.tool_choice
    if not body.tools:
        if choice not in (None, "none"):
            what = "'tool_choice' chooses, and there are no tools."
            raise BadField(what, fix="Send 'tools' too.", param="tools")
        return None
    if choice == "none":
        return None
    offered = tuple(_offered(tool.function) for tool in body.tools)
    names = [tool.name for tool in offered]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise BadField(f"Two tools are called '{twice}'.", fix="Name each differently.", param="tools")
    if isinstance(choice, NamedTool):
        offered = tuple(tool for tool in offered if tool.name == choice.function.name)
        if not offered:
            raise BadField(
                f"There is no tool '{choice.function.name}'.",
                fix=f"Choose one of: {', '.join(names)}.",
                param="tool_choice",
            )
        return Calling(offered=offered, must=True, parallel=False)
    return Calling(offered=offered, must=choice == "required", parallel=body.parallel_tool_calls is not False)


def _offered(function: object) -> Offered:
    name, description, parameters = (getattr(function, key) for key in ("name", "description", "parameters"))
    usual = Offered(name=name)
    return Offered(name=name, description=description or "", parameters=parameters or usual.parameters)


def turns(messages: Sequence[ChatMessage]) -> list[Message]:
    """Raises BadField for a message without words, or a result of a call that nobody made."""
    found: list[Message] = []
    names: dict[str, str] = {}
    for at, message in enumerate(messages):
        calls = message.tool_calls or ()
        names |= {call.id: call.function.name for call in calls}
        if message.role == "tool":
            found = _with_result(found, names, message, f"messages.{at}")
            continue
        if calls and message.role != "assistant":
            raise BadField(
                f"A message of the role '{message.role}' makes calls.",
                fix="Only the assistant's do.",
                param=f"messages.{at}.tool_calls",
            )
        if message.content is None and not calls:
            raise BadField("A message has no content.", fix="Send its text.", param=f"messages.{at}.content")
        role: Role = "system" if message.role == "developer" else message.role
        made = [Call(name=call.function.name, arguments=call.function.arguments) for call in calls]
        text = tools.called(made, message.text) if made else message.text
        found.append(Message(role=role, content=text))
    return found


def with_offer(messages: Sequence[Message], offer: str) -> list[Message]:
    """The offer stands before the first words of the user."""
    first = next((at for at, message in enumerate(messages) if message.role == "user"), None)
    if first is None:
        raise BadField("No message is the user's.", fix="End with a user message.", param="messages")
    told = Message(role="user", content=f"{offer}\n\n{messages[first].content}")
    return [*messages[:first], told, *messages[first + 1 :]]


def _with_result(
    found: list[Message], names: dict[str, str], message: ChatMessage, where: str
) -> list[Message]:
    """The result as the user's turn; results that follow each other are one."""
    name = names.get(message.tool_call_id or "")
    if name is None:
        raise BadField(
            f"No call before this message has the id '{message.tool_call_id}'.",
            fix="Send the assistant's message with its tool_calls first.",
            param=f"{where}.tool_call_id",
        )
    text = tools.result(name, message.text)
    if found and found[-1].role == "user":
        return [*found[:-1], Message(role="user", content=f"{found[-1].content}\n\n{text}")]
    return [*found, Message(role="user", content=text)]
