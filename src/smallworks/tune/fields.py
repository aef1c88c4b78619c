"""Fit the linear candidate of extraction: which fields stand in the text, which are chosen, and both.

A field is tagged where most of its values are words of their text; chosen where they are few and come again.
The others cannot be learned this way, and are left out, each with the reason. Also the child that does it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from smallworks import files
from smallworks.engines.fields import ABSENT, FieldsHead, ValueType, save
from smallworks.engines.linear import LinearHead
from smallworks.engines.tagger import tagged
from smallworks.engines.verbatim import MARK
from smallworks.engines.words import Word, places, words
from smallworks.errors import DataError
from smallworks.seams import Progress, silent
from smallworks.tune.linear import C_LINEAR, fit_head
from smallworks.tune.tagger import fit_tagger

LEAST_STANDING = 0.5
"""Share of a field's values that stand word for word in their texts, from which on it is tagged."""
MOST_VALUES = 50
"""Different values of a field that is chosen."""
Row = tuple[str, Mapping[str, Any]]
"""A text and its fields."""


@dataclass(kw_only=True)
class Survey:
    """How each field is learned; `left_out` has the reasons of those that are not."""

    spans: dict[str, ValueType] = field(default_factory=dict)
    chosen: dict[str, list[str]] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)


def survey(rows: Sequence[Row], schema: Mapping[str, Any]) -> Survey:
    """Looks at every value once. `chosen` has the labels of a field: JSON, and ABSENT where it may lack."""
    found = Survey()
    split = [words(text) for text, _ in rows]
    for name in sorted({name for _, said in rows for name in said}):
        at = [i for i, (_, said) in enumerate(rows) if said.get(name) is not None]
        values = [rows[i][1][name] for i in at]
        kind = None if "enum" in _property(schema, name) else _type(values)
        standing = sum(bool(kind) and _stands(rows[i][0], split[i], rows[i][1][name]) for i in at)
        if kind and standing >= LEAST_STANDING * len(at) > 0:
            found.spans[name] = kind
            continue
        counts = Counter(files.canonical(said[name]).decode() if name in said else ABSENT for _, said in rows)
        if len(counts) <= MOST_VALUES and max(counts.values(), default=0) > 1:
            found.chosen[name] = sorted(counts)
        else:
            share = f"{standing} of {len(at)} values stand in their text"
            found.left_out[name] = f"{share}, and {len(counts)} different ones are too many to choose among"
    return found


def fit_fields(
    rows: Sequence[Row], schema: Mapping[str, Any], *, seed: int = 0, progress: Progress = silent
) -> tuple[FieldsHead, Survey]:
    """Raises DataError where no field can be learned."""
    how = survey(rows, schema)
    if not how.spans and not how.chosen:
        reasons = "; ".join(f"{name}: {why}" for name, why in how.left_out.items())
        raise DataError(
            f"No field of the {len(rows)} training rows can be tagged or chosen: {reasons or 'all empty'}.",
            fix="Leave the candidate out: --skip linear",
        )
    progress("fit", 0, 2, f"{len(how.spans)} tagged fields")
    sentences = [_tagged(text, said, how.spans) for text, said in rows]
    tagger = fit_tagger(sentences) if how.spans else None
    progress("fit", 1, 2, f"{len(how.chosen)} chosen fields")
    chosen = {name: _chooser(rows, name, labels, seed) for name, labels in how.chosen.items()}
    usual = {name: _usual(rows, name) for name in schema.get("required", ())}
    rules = {name: _rule(schema, name) for name in how.spans}
    head = FieldsHead(
        tagger=tagger,
        spans=how.spans,
        chosen=chosen,
        usual={name: value for name, value in usual.items() if value is not ...},
        rules={name: rule for name, rule in rules.items() if rule},
    )
    return head, how


def main(request: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """`rows` is a JSONL of [text, JSON of the fields]; writes the head to `out`."""
    rows = [(text, _fields(said)) for text, said in files.read_jsonl(Path(request["rows"]))]
    head, how = fit_fields(rows, request["schema"], seed=request["seed"], progress=progress)
    save(head, Path(request["out"]))
    return {"tagged": list(how.spans), "chosen": list(how.chosen), "left_out": how.left_out}


def _fields(said: str) -> dict[str, Any]:
    found = json.loads(said)
    if isinstance(found, dict):
        return found
    raise DataError(
        f"The expected output {said[:80]!r} is no JSON object.",
        fix="Write the fields of each row as an object.",
    )


def _type(values: Sequence[Any]) -> ValueType | None:
    """What the values of a field have in common, where it can be said by words of a text."""
    if all(isinstance(value, str) for value in values):
        return "string"
    if any(isinstance(value, bool) for value in values):
        return None
    if all(isinstance(value, int) for value in values):
        return "integer"
    if all(isinstance(value, int | float) for value in values):
        return "number"
    lists = all(isinstance(value, list) and all(isinstance(one, str) for one in value) for value in values)
    return "list" if lists else None


def _stands(text: str, found: Sequence[Word], value: Any) -> bool:
    pieces = value if isinstance(value, list) else [value]
    return bool(pieces) and all(next(_places(text, found, one), None) for one in pieces)


def _tagged(
    text: str, said: Mapping[str, Any], spans: Mapping[str, ValueType]
) -> tuple[list[Word], list[str]]:
    """The words and their tags; long values take their place first, so that none lies across another."""
    found = words(text)
    pieces = [
        (name, one)
        for name in spans
        if (value := said.get(name)) is not None
        for one in (value if isinstance(value, list) else [value])
    ]
    taken: dict[tuple[int, int], str] = {}
    for name, one in sorted(pieces, key=lambda piece: -len(str(piece[1]))):
        for start, end in _places(text, found, one):
            if all(end <= other or start >= until for other, until in taken):
                taken[start, end] = name
                break
    return found, list(tagged(found, taken))


def _places(text: str, found: Sequence[Word], value: Any) -> Iterator[tuple[int, int]]:
    """Where a value stands in the text as whole words, in any way that a text may write it."""
    for form in _forms(value):
        yield from places(text, found, form)


def _forms(value: Any) -> tuple[str, ...]:
    """How a text may write it."""
    if isinstance(value, str):
        return (value.strip(),)
    if isinstance(value, int) or value.is_integer():
        return (f"{int(value)}", f"{int(value):,}", str(value), f"{int(value)}.00")
    return (str(value), f"{value:,}", f"{value:.2f}")


def _chooser(rows: Sequence[Row], name: str, labels: list[str], seed: int) -> LinearHead:
    index = {label: i for i, label in enumerate(labels)}
    said = [files.canonical(row[name]).decode() if name in row else ABSENT for _, row in rows]
    if len(labels) == 1:
        return LinearHead(tuple(labels), (), (), np.zeros(1))
    y = np.array([index[one] for one in said])
    return fit_head([text for text, _ in rows], y, [None] * len(y), labels, None, C_LINEAR, seed)


def _usual(rows: Sequence[Row], name: str) -> Any:
    """What the field says most often, null where it ever does; `...` where no row has it."""
    values = [said[name] for _, said in rows if name in said]
    if not values:
        return ...
    if None in values:
        return None
    return json.loads(Counter(files.canonical(value).decode() for value in values).most_common(1)[0][0])


def _property(schema: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = schema.get("properties", {}).get(name, {})
    return found if isinstance(found, dict) else {}


def _rule(schema: Mapping[str, Any], name: str) -> dict[str, Any] | None:
    """What the schema asks of a field's value besides its type, as a schema of its own."""
    own = _property(schema, name)
    if not set(own) - {"type", "title", "description", "default", "examples", MARK}:
        return None
    return {**{key: schema[key] for key in ("$defs", "definitions") if key in schema}, **own}
