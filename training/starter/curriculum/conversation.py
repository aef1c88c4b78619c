"""A conversation as values, and its ChatML text in pieces that say which of them the model learns."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

Role = Literal["user", "assistant"]
Kind = Literal["classify", "extract", "answer", "rewrite", "summarize", "chat"]


@dataclass(frozen=True, slots=True)
class Message:
    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class Conversation:
    kind: Kind
    messages: tuple[Message, ...]


@dataclass(frozen=True, slots=True)
class Piece:
    """Text to tokenize by itself, so that the prompt's tokens are the same with and without an answer."""

    text: str
    learned: bool


def turns(kind: Kind, *pairs: tuple[str, str]) -> Conversation:
    """A conversation from (user, assistant) pairs."""
    messages = ((Message("user", user), Message("assistant", assistant)) for user, assistant in pairs)
    return Conversation(kind, tuple(message for pair in messages for message in pair))


def pieces(conversation: Conversation) -> Iterator[Piece]:
    """Completion-only: what the assistant says and the token that ends its turn are learned."""
    for message in conversation.messages:
        yield Piece(f"<|im_start|>{message.role}\n", False)
        yield Piece(f"{message.content}<|im_end|>", message.role == "assistant")
        yield Piece("\n", False)
