"""Documents and conversations as token ids; knows nothing about batches or the model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tokenizers import Tokenizer

from training.starter.curriculum.conversation import Conversation, Message, pieces


@dataclass(frozen=True, slots=True)
class Encoded:
    """Token ids of a conversation and, for each, the weight of its prediction in the loss (0: prompt)."""

    ids: tuple[int, ...]
    weights: tuple[float, ...]


def document(tokenizer: Tokenizer, text: str) -> list[int]:
    """The separator stands before the text: it is also the token a plain-text row may begin with."""
    return [0, *tokenizer.encode(text, add_special_tokens=False).ids]


def chat(tokenizer: Tokenizer, conversation: Conversation) -> Encoded:
    """A turn weighs the square root of its length, so that JSON does not drown the one-token codes."""
    ids: list[int] = []
    weights: list[float] = []
    for piece in pieces(conversation):
        found = tokenizer.encode(piece.text, add_special_tokens=False).ids
        ids += found
        weights += [len(found) ** -0.5 if piece.learned else 0.0] * len(found)
    return Encoded(tuple(ids), tuple(weights))


def shortened(tokenizer: Tokenizer, conversation: Conversation, longest: int) -> Encoded | None:
    """Drops the last turns until the conversation fits; None when its first turn does not."""
    messages: tuple[Message, ...] = conversation.messages
    while messages:
        encoded = chat(tokenizer, Conversation(conversation.kind, messages))
        if len(encoded.ids) <= longest:
            return encoded
        messages = messages[:-2]
    return None


def prompt(tokenizer: Tokenizer, user: str) -> list[int]:
    """One user message with the generation prompt, as the chat template renders it."""
    return tokenizer.encode(
        f"<|im_start|>user\n{user}<|im_end|>\n<|im_start|>assistant\n", add_special_tokens=False
    ).ids


def texts(conversations: Iterator[Conversation]) -> Iterator[str]:
    """What the tokenizer sees of the curriculum."""
    for conversation in conversations:
        yield from (f"{message.role}\n{message.content}" for message in conversation.messages)
