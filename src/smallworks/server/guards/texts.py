"""Where texts stand in the JSON of a request or an answer: everywhere, but for what is surely none.

Every string is a text unless it is the plain word of a known key (a role, a type, an id) or data in base64.
So a field that nobody here has heard of is looked at too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from smallworks.server.failures import BadField
from smallworks.server.hosts import Form, Said

PLAIN_KEYS = frozenset({
    "call_id", "detail", "encoding_format", "finish_reason", "format", "id", "index", "item_id", "mime_type",
    "object", "role", "service_tier", "status", "tool_call_id", "type",
})  # fmt: skip
PLAIN = re.compile(r"(?=[\d.:/+-]*[A-Za-z_])[\w.:/+-]{1,80}", re.ASCII)
"""Without a letter it may be anybody's number."""
DATA = re.compile(
    r"data:[\w/+.;=-]{0,200};base64,[A-Za-z0-9+/_-]*={0,2}\Z|[A-Za-z0-9+/_-]{512,}={0,2}\Z", re.ASCII
)
DATA_KEYS = frozenset({"url", "data", "file_data", "b64_json", "image_url"})
NOT_ASKED = frozenset({"model", "stop", "logit_bias"})
"""Top fields of a request that no model reads."""
NOT_TOLD = frozenset({
    "model", "created", "usage", "smallworks", "system_fingerprint", "label", "probabilities", "embedding",
    "logprobs", "encrypted_content",
})  # fmt: skip
"""Keys of an answer whose values are figures, names, labels of a closed set, or the words said again."""
NAMES_COUNT = frozenset({"tools", "functions", "response_format", "text"})
"""Top fields with schemas in them, whose keys a model reads as well."""
SAID_AGAIN = frozenset({
    "instructions", "metadata", "tools", "tool_choice", "text", "input", "prompt", "user",
})  # fmt: skip
"""Fields of a response that repeat its request."""
FREE_KEYS = frozenset({"documents", "metadata"})
"""Fields of a request whose members are named by the user, so that no key in them is a known one."""
USUAL = frozenset({"assistant", "chat.completion", "chat.completion.chunk", "stop", "system", "text", "user"})
"""Plain words that nearly every request or answer holds."""
HOLDERS = (str, dict, list)
"""What is a text, or may hold one."""
FREE = frozenset({"/classify"})
"""Forms whose inputs are named by the user, so that no key in them is a known one."""


@dataclass(slots=True)
class Slot:
    """`holder[key]` is a text."""

    holder: Any
    key: Any
    place: tuple[Any, ...]
    untrusted: bool = False

    @property
    def text(self) -> str:
        return str(self.holder[self.key])

    def put(self, text: str) -> None:
        self.holder[self.key] = text

    @property
    def name(self) -> str:
        return ".".join(map(str, self.place))


def asked(said: Said, form: Form, untrusted: frozenset[str]) -> list[Slot]:
    """The texts of a request. Raises BadField for tokens in their place, and for text that is none."""
    refuse_tokens(said)
    free = form.path in FREE
    fields: list[Step] = [
        (said, key, (key,), key in untrusted, key in FREE_KEYS or (free and key == "input"))
        for key, value in reversed(said.items())
        if key not in NOT_ASKED and isinstance(value, HOLDERS)
    ]
    slots = _walked(fields, untrusted=untrusted, free=free)
    for slot in slots:
        _refuse_halves(slot)
    return slots


def has_names(said: Said) -> bool:
    """Whether there are schemas, whose names are read as one text that stands so in no body."""
    return any(isinstance(said[field], dict | list) for field in NAMES_COUNT.intersection(said))


def names(said: Said) -> Iterator[tuple[str, str]]:
    """The keys inside schemas, as one text for each top field: (field, text)."""
    for field in NAMES_COUNT.intersection(said):
        if isinstance(said[field], dict | list):
            yield field, "\n".join(dict.fromkeys(_keys(said[field])))


def told(said: Said, *, but: str = "") -> list[Slot]:
    """The texts of an answer, but for one field, and for what a response says again of its request."""
    fields: list[Step] = [
        (holder, key, (key,), False, key in FREE_KEYS)
        for holder, key in _fields(said)
        if key not in NOT_TOLD and key != but and not _is_again(holder, key)
    ]
    fields.reverse()
    return _walked(fields, skip=NOT_TOLD)


def said_again(said: Said) -> list[Slot]:
    """The texts of the request that a response says again."""
    if SAID_AGAIN.isdisjoint(said) and "response" not in said:
        return []
    return [slot for holder, key in _fields(said) if _is_again(holder, key) for slot in walk(holder, key)]


def forget_logprobs(said: Any) -> None:
    """They say the words again that were changed."""
    waiting = [said]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            if value.get("logprobs"):
                value["logprobs"] = [] if isinstance(value["logprobs"], list) else None
            waiting += [one for key, one in value.items() if not _is_again(value, key)]
        elif isinstance(value, list):
            waiting += value


def walk(holder: Any, key: Any, *, skip: frozenset[str] = frozenset()) -> list[Slot]:
    """The texts under `holder[key]`, in order; members of a list go by their `index` if they have one."""
    return _walked([(holder, key, (key,), False, key in FREE_KEYS)], skip=skip)


Step = tuple[Any, Any, tuple[Any, ...], bool, bool]
"""Holder, key and place of what is to be looked into; whether it is untrusted, and its keys the user's."""


def _walked(
    waiting: list[Step],
    *,
    untrusted: frozenset[str] = frozenset(),
    free: bool = False,
    skip: frozenset[str] = frozenset(),
) -> list[Slot]:
    """The texts under each step, the first of which comes last. Deep nesting costs no recursion.

    `waiting` is used up, for it is the stack: empty afterwards.
    """
    slots: list[Slot] = []
    while waiting:
        holder, key, place, strange, own = waiting.pop()
        value = holder[key]
        if isinstance(value, str):
            if value and (own or not _is_plain(key, value)):
                slots.append(Slot(holder, key, place, strange))
        elif isinstance(value, dict):
            if untrusted and not (strange or free):
                strange = _is_marked(value, untrusted)
            for inner, one in reversed(value.items()):
                if inner not in skip and isinstance(one, HOLDERS):
                    marked = strange or inner in untrusted
                    waiting.append((value, inner, (*place, inner), marked, own or inner in FREE_KEYS))
        elif isinstance(value, list):
            for at in range(len(value) - 1, -1, -1):
                if isinstance(value[at], HOLDERS):
                    waiting.append((value, at, (*place, _index(value[at], at)), strange, own))
    return slots


def copied(value: Any) -> Any:
    """A copy whose texts can be changed: what is said may be on its way into the cache too."""
    if isinstance(value, dict):
        return {key: one if _is_vector(key, one) else copied(one) for key, one in value.items()}
    return [copied(one) for one in value] if isinstance(value, list) else value


def _fields(said: Said) -> Iterator[tuple[Said, str]]:
    """The fields of an answer, those of the response that an event carries as its own."""
    for key, value in said.items():
        if key == "response" and isinstance(value, dict):
            yield from ((value, inner) for inner, one in value.items() if isinstance(one, HOLDERS))
        elif isinstance(value, HOLDERS):
            yield said, key


def _is_again(holder: Said, key: str) -> bool:
    return key in SAID_AGAIN and holder.get("object") == "response"


def _is_vector(key: str, value: Any) -> bool:
    return key == "embedding" and isinstance(value, list) and bool(value) and isinstance(value[0], float)


def _is_plain(key: Any, value: str) -> bool:
    if key in PLAIN_KEYS:
        return value in USUAL or PLAIN.fullmatch(value) is not None
    return key in DATA_KEYS and DATA.match(value) is not None


def _is_marked(value: dict[str, Any], untrusted: frozenset[str]) -> bool:
    role, kind = value.get("role"), value.get("type")
    return (isinstance(role, str) and role in untrusted) or (isinstance(kind, str) and kind in untrusted)


def _index(one: Any, at: int) -> int:
    index = one.get("index", at) if isinstance(one, dict) else at
    return index if isinstance(index, int) else at


def _keys(value: Any) -> Iterator[str]:
    waiting = [value]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            yield from value
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value


def refuse_tokens(said: Said) -> None:
    """Text that came as numbers cannot be looked at, so it cannot pass. Raises BadField."""
    for key in ("prompt", "input"):
        if key in said:
            _refuse_numbers(said[key], key)


def _refuse_numbers(value: Any, key: str) -> None:
    first = value[0] if isinstance(value, list) and value else None
    first = first[0] if isinstance(first, list) and first else first
    if isinstance(first, int) or (
        isinstance(value, list) and any(isinstance(one, int | list) for one in value)
    ):
        raise BadField(
            f"'{key}' holds token ids, which the guards of this server cannot read.",
            fix="Send text.",
            param=key,
        )


def _refuse_halves(slot: Slot) -> None:
    text = slot.text
    if text.isascii():
        return
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise BadField(
            f"'{slot.name}' holds half of a surrogate pair at character {error.start}.",
            fix="Mend that field.",
            param=slot.name,
        ) from error
