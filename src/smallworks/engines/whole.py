"""A JSON document that the token limit cut off, made whole: without its unfinished last member.

Text in, text out: every engine that writes the same tokens closes them alike. Knows nothing of models.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from smallworks.engines.schema import fits

CLOSERS = {"{": "}", "[": "]"}
ENDS = frozenset('"}]el')
"""Last characters of a finished value: a string, a container, true, false, null. A number may go on."""


def whole(text: str, schema: Mapping[str, Any]) -> str:
    """The document up to its last finished member, or `text` itself where that does not fit the schema."""
    for end, closers in reversed(list(_places(text))):
        candidate = text[:end] + closers
        try:
            json.loads(candidate)
        except ValueError:
            continue
        except RecursionError:  # deeper than can be read
            return text
        return candidate if fits(candidate, schema) else text
    return text


def _places(text: str) -> Iterator[tuple[int, str]]:
    """Where the document may end, and the brackets that are open there: before a comma, after a bracket."""
    closers, string, escaped = "", False, False
    for place, character in enumerate(text):
        if string:
            string, escaped = escaped or character != '"', not escaped and character == "\\"
        elif character == '"':
            string = True
        elif character in CLOSERS:
            closers = CLOSERS[character] + closers
            yield place + 1, closers
        elif character in CLOSERS.values():
            closers = closers[1:]
        elif character == ",":
            yield place, closers
    if text and not string and text[-1] in ENDS:
        yield len(text), closers
