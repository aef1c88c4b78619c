"""Read an answer twice: strictly, as a program would take it, and leniently, as a person would.

Knows the kind of task, its labels and its schema; knows nothing of what was expected, nor of scores.
A strict parse of None means that a program could not have used the answer.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from smallworks.errors import TaskError
from smallworks.files import canonical
from smallworks.text.folding import fold
from smallworks.types import Kind

if TYPE_CHECKING:
    from jsonschema_rs import Validator


@dataclass(frozen=True, kw_only=True)
class Parsed:
    strict: str | None
    lenient: str | None


def parse(
    kind: Kind, raw: str, *, labels: Sequence[str] = (), schema: Mapping[str, Any] | None = None
) -> Parsed:
    """Both parses of a raw answer.

    | kind | strict | lenient |
    |---|---|---|
    | classify | exactly one of the labels | the label up to case and punctuation, or the only one named |
    | extract | the whole text is one JSON document, valid by the schema | the first JSON object in the text |
    | others | the text as it is | white space collapsed, the quotes around the whole text removed |

    JSON is canonical in both: keys sorted, no spaces, 1.0 written as 1.
    """
    if kind == "classify":
        return Parsed(
            strict=raw if raw in _folded(tuple(labels)).whole else None, lenient=_label(raw, tuple(labels))
        )
    if kind == "extract":
        return Parsed(strict=_document(raw, schema), lenient=_first_object(raw, schema))
    return Parsed(strict=raw, lenient=_plain(raw))


# --- classify -----------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class _Folded:
    """A label set made ready: exact labels, squeezed form → labels, and a search for folded ones."""

    whole: frozenset[str]
    squeezed: Mapping[str, str | None]
    spoken: Mapping[str, str]
    search: re.Pattern[str] | None


@lru_cache(maxsize=64)
def _folded(labels: tuple[str, ...]) -> _Folded:
    squeezed: dict[str, str | None] = {}
    spoken: dict[str, str] = {}
    for label in labels:
        words = fold(label)
        key = words.replace(" ", "")
        squeezed[key] = None if key in squeezed else label  # two labels alike when folded name neither
        if words:
            spoken[words] = label
    names = sorted((w for w in spoken if squeezed[w.replace(" ", "")]), key=len, reverse=True)
    pattern = r"(?<!\w)(?:" + "|".join(map(re.escape, names)) + r")(?!\w)"
    return _Folded(
        whole=frozenset(labels),
        squeezed={key: label for key, label in squeezed.items() if key},
        spoken=spoken,
        search=re.compile(pattern) if names else None,
    )


def _label(raw: str, labels: tuple[str, ...]) -> str | None:
    """The label that a reader would take: said whole, else the only one named (the longest at a place).

    It reads names, not sense: "not a bug" names `bug`.
    """
    folded = _folded(labels)
    if raw.strip() in folded.whole:
        return raw.strip()
    text = fold(raw)
    whole = folded.squeezed.get(text.replace(" ", ""))
    if whole or not folded.search:
        return whole
    named = {folded.spoken[found] for found in folded.search.findall(text)}
    return named.pop() if len(named) == 1 else None


# --- extract ------------------------------------------------------------------------------------


def loads(text: str) -> Any:
    """JSON as the standard has it: no NaN, no Infinity; whole floats become integers. Raises ValueError."""
    return _DECODER.decode(text)


def _number(text: str) -> float | int:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise ValueError(f"{text} is out of range")
    return int(value) if value.is_integer() else value


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(parse_float=_number, parse_constant=_refuse)


def _document(raw: str, schema: Mapping[str, Any] | None) -> str | None:
    try:
        value = loads(raw)
    except (ValueError, RecursionError):  # not JSON, or nested past any sensible depth: a failed parse
        return None
    if schema is not None and not _validator(canonical(schema).decode()).is_valid(value):
        return None
    return canonical(value).decode()


def _first_object(raw: str, schema: Mapping[str, Any] | None) -> str | None:
    """The first JSON object (array, where the schema asks for one) anywhere in the text, valid or not."""
    opening = "[" if schema is not None and schema.get("type") == "array" else "{"
    start = raw.find(opening)
    while start >= 0:
        try:
            return canonical(_DECODER.raw_decode(raw, start)[0]).decode()
        except (ValueError, RecursionError):
            start = raw.find(opening, start + 1)
    return None


@lru_cache(maxsize=64)
def _validator(schema: str) -> Validator:
    import jsonschema_rs

    try:
        return jsonschema_rs.validator_for(schema, offline=True)
    except (ValueError, jsonschema_rs.ReferencingError) as error:
        raise TaskError(
            f"The task's JSON schema is not valid: {error}.", fix="Mend `schema` in task.toml."
        ) from error


# --- the others ---------------------------------------------------------------------------------


def _plain(raw: str) -> str:
    text = " ".join(raw.split())
    for opening, closing in ('""', "''", "“”", "``"):
        if len(text) > 1 and text[0] == opening and text[-1] == closing and text.count(opening) <= 2:
            return text[1:-1].strip()
    return text
