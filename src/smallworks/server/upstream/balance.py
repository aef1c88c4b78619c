"""Which server first: where the beginning of the prompt is known, else where the least is to be done. Pure.

A server that has just read a prompt still holds its keys and values, so that the next request with the same
beginning is cheaper there. Each beginning has its own order of the servers (weighted rendezvous hashing:
one that comes or goes moves only its own share), and goes to the first of them that is not overloaded
(consistent hashing with bounded loads, Mirrokni et al. 2018).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from hashlib import blake2b
from typing import Any, Protocol, TypeVar

OVERLOAD = 1.25
"""Times its share of the tokens under way that a server may hold and still get what it knows."""
SLACK = 8192
"""Tokens beyond that, so that two or three requests at once do not part."""


class Load(Protocol):
    @property
    def seed(self) -> bytes: ...

    @property
    def weight(self) -> float: ...

    @property
    def outstanding(self) -> int: ...


AnyLoad = TypeVar("AnyLoad", bound=Load)


def ranked(servers: Sequence[AnyLoad], beginning: bytes, tokens: int) -> list[AnyLoad]:
    """The servers, the best for a request of `tokens` first. An empty `beginning` is known nowhere."""
    if len(servers) < 2:
        return list(servers)
    least = sorted(servers, key=lambda one: (one.outstanding + tokens) / one.weight)
    if not beginning:
        return least
    whole = sum(one.outstanding for one in servers) + tokens
    weights = sum(one.weight for one in servers)
    for one in sorted(servers, key=lambda one: _score(one, beginning), reverse=True):
        share = whole * one.weight / weights
        if one.outstanding + tokens <= OVERLOAD * share + SLACK or not one.outstanding:
            return [one, *(other for other in least if other is not one)]
    return least


def beginning(said: dict[str, Any], characters: int) -> bytes:
    """What requests that share a KV cache share: the system prompt and the first message of a user.

    It stays the same while a conversation grows. Empty for what has no prompt.
    """
    if not characters:
        return b""
    messages = said.get("messages")
    if isinstance(messages, list):
        text = "\0".join(map(_content, messages[: _first_user(messages) + 1]))
    else:
        text = _text(said.get("instructions")) + _text(said.get("prompt", said.get("input")))
    return text[:characters].encode("utf-8", "surrogatepass")


def _first_user(messages: list[Any]) -> int:
    users = (i for i, each in enumerate(messages) if isinstance(each, dict) and each.get("role") == "user")
    return next(users, len(messages))


def _content(message: Any) -> str:
    return _text(message.get("content")) if isinstance(message, dict) else ""


def _text(value: Any) -> str:
    """A text, or those of a list: prompts, parts of a message, messages whose content is a text."""
    if isinstance(value, list):
        return "".join(map(_part, value))
    return value if isinstance(value, str) else ""


def _part(value: Any) -> str:
    if isinstance(value, dict):
        value = value.get("text", value.get("content"))
    return value if isinstance(value, str) else ""


def _score(server: Load, beginning: bytes) -> float:
    """Larger is better; each server wins its weight's share of all beginnings."""
    drawn = int.from_bytes(blake2b(beginning, digest_size=6, key=server.seed).digest())
    return -server.weight / math.log((drawn + 0.5) / 2**48)
