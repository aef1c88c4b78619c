"""The linear engine of extraction: values that stand in a text are tagged there, the others are chosen.

A field whose values are words of the text is a span that a linear tagger marks; one with few values that
the text does not say (a flag, a kind) is chosen among them by a linear classifier. Says JSON and has no
tokens of its own; stored as safetensors and JSON.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from threading import Event
from typing import Any, Literal

import numpy as np

from smallworks import files
from smallworks.engines import linear
from smallworks.engines.linear import LinearHead, log_softmax
from smallworks.engines.tagger import Tagger
from smallworks.errors import DataError, ModelError, RequestError
from smallworks.seams import Ability
from smallworks.types import Choices, Chunk, Completion, Prompt, Sampling, Token

WEIGHTS, FIELDS = "fields.safetensors", "fields.json"
THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
ABSENT = ""
"""Among the labels of a chosen field, each the JSON of a value: that the field is left out."""
ValueType = Literal["string", "number", "integer", "list"]
"""How a span becomes a value: as it stands, as the number that it says, or with others of its field."""


@dataclass(frozen=True, kw_only=True)
class FieldsHead:
    """`spans` names the fields that are tagged and what their values are, `chosen` the classifier of each of
    the others. `usual` holds what a field says that the schema requires and the text does not state; `rules`
    what it asks of a span besides its type: one that does not fit is none."""

    tagger: Tagger | None
    spans: Mapping[str, ValueType]
    chosen: Mapping[str, LinearHead]
    usual: Mapping[str, Any]
    rules: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def answer(self, text: str) -> tuple[dict[str, tuple[Any, float]], float]:
        """Each field's value with its probability, and how probable it is that no other field is stated."""
        said, rest = self._tagged(text) if self.tagger else ({}, 1.0)
        for name, fits in self.fits.items():
            if name in said and not fits(said[name][0]):
                rest = min(rest, said.pop(name)[1])
        for name, head in self.chosen.items():
            logp = log_softmax(head.margins(text))
            best = int(logp.argmax())
            probability = float(np.exp(logp[best]))
            if head.labels[best] == ABSENT:
                rest = min(rest, probability)
            else:
                said[name] = (json.loads(head.labels[best]), probability)
        for name, value in self.usual.items():
            said.setdefault(name, (value, rest))
        return said, rest

    def _tagged(self, text: str) -> tuple[dict[str, tuple[Any, float]], float]:
        assert self.tagger
        said: dict[str, tuple[Any, float]] = {}
        found, rest = self.tagger.spans(text)
        for span in found:
            kind, words = self.spans[span.field], text[span.start : span.end]
            before = said.get(span.field)
            if kind == "list":
                values, least = before or ([], 1.0)
                said[span.field] = ([*values, words], min(least, span.probability))
            elif before is None and (value := _value(words, kind)) is not None:
                said[span.field] = (value, span.probability)
            else:
                rest = min(rest, span.probability)
        return said, rest

    @cached_property
    def fits(self) -> dict[str, Callable[[Any], bool]]:
        """What tells whether a value keeps each rule. Raises ModelError for one that is no schema."""
        import jsonschema_rs

        try:
            made = {
                name: jsonschema_rs.validator_for(dict(r), offline=True) for name, r in self.rules.items()
            }
        except (ValueError, jsonschema_rs.ReferencingError) as error:
            raise ModelError(
                f"A rule of this linear model is no JSON schema: {error}.",
                fix="Rebuild it with: smallworks build",
            ) from error
        return {name: validator.is_valid for name, validator in made.items()}


class Fields:
    """A head as a Model: immutable after loading, so any number of threads may call it."""

    engine = "linear"
    context = 0
    abilities: frozenset[Ability] = frozenset({"logprobs"})

    def __init__(self, head: FieldsHead) -> None:
        self.head = head

    def generate(self, prompt: Prompt, sampling: Sampling, *, cancel: Event | None = None) -> Completion:
        """JSON of the fields, sorted. Its tokens are one for each field and one for the end."""
        said, rest = self.head.answer(prompt.text)
        tokens, mark = list[Token](), "{"
        for name, (value, probability) in sorted(said.items()):
            pair = f"{mark}{_json(name)}:{_json(value)}"
            tokens.append(Token(text=pair, logprob=_log(probability)))
            mark = ","
        tokens.append(Token(text="}" if said else "{}", logprob=_log(rest)))
        return Completion(
            text="".join(token.text for token in tokens),
            finish="stop",
            tokens_in=0,
            tokens_out=0,
            tokens=() if sampling.logprobs is None else tuple(tokens),
        )

    def stream(self, prompt: Prompt, sampling: Sampling, *, cancel: Event | None = None) -> Iterator[Chunk]:
        whole = self.generate(prompt, sampling, cancel=cancel)
        yield Chunk(text=whole.text, completion=whole, tokens=whole.tokens)

    def score(self, prompts: Sequence[Prompt], choices: Choices) -> np.ndarray:
        raise RequestError("A bundle that extracts gives no labels.", fix="Ask for its answer.")

    def count(self, text: str) -> int:
        return 0

    def close(self) -> None:
        return None


def save(head: FieldsHead, folder: Path) -> None:
    """Two files for the tagger, a folder for each classifier."""
    from safetensors.numpy import save as save_tensors

    told: dict[str, Any] = {"spans": head.spans, "chosen": list(head.chosen), "usual": head.usual}
    told["rules"] = head.rules
    folder.mkdir(parents=True, exist_ok=True)
    if head.tagger:
        arrays = ("begins", "columns", "weights", "transitions")
        tensors = {name: np.ascontiguousarray(getattr(head.tagger, name)) for name in arrays}
        told |= {"tags": head.tagger.tags, "features": list(head.tagger.features)}
        with files.atomic(folder / WEIGHTS) as temporary:
            temporary.write_bytes(save_tensors(tensors))
    for number, chosen in enumerate(head.chosen.values()):
        linear.save(chosen, folder / f"chosen-{number}")
    files.write_text(folder / FIELDS, json.dumps(told, ensure_ascii=False, separators=(",", ":")))


def load(folder: Path) -> FieldsHead:
    """Raises ModelError when a file is missing or they do not fit together."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        told = files.read_json(folder / FIELDS)
        chosen = {name: linear.load(folder / f"chosen-{i}") for i, name in enumerate(told["chosen"])}
        tagger = _tagger(told, load_file(folder / WEIGHTS)) if "tags" in told else None
        head = FieldsHead(
            tagger=tagger, spans=told["spans"], chosen=chosen, usual=told["usual"], rules=told["rules"]
        )
    except (OSError, SafetensorError, DataError, KeyError, TypeError, ValueError) as error:
        raise ModelError(
            f"No readable linear model at '{folder}': {error}.", fix="Rebuild it with: smallworks build"
        ) from error
    head.fits  # noqa: B018 - a rule that is none is told here, not to the first who asks
    return head


def _tagger(told: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> Tagger:
    """Raises KeyError, TypeError or ValueError where arrays and names do not fit together."""
    tags, names = tuple(told["tags"]), told["features"]
    begins, columns, weights = tensors["begins"], tensors["columns"], tensors["weights"]
    whole = len(begins) == len(names) + 1 and len(columns) == len(weights) == (begins[-1] if names else 0)
    if not whole or tensors["transitions"].shape != (len(tags), len(tags)):
        raise ValueError(f"{len(weights)} weights for {len(names)} features and {len(tags)} tags")
    if len(columns) and not 0 <= columns.min() <= columns.max() < len(tags):
        raise ValueError(f"weights for {columns.max() + 1} tags of {len(tags)}")
    return Tagger(
        tags=tags,
        features={name: i for i, name in enumerate(names)},
        begins=begins,
        columns=columns,
        weights=weights,
        transitions=tensors["transitions"],
    )


def _value(words: str, kind: ValueType) -> Any:
    """What a span says; None where it is not the number that it should be."""
    if kind == "string":
        return words
    digits = THOUSANDS.sub("", words)
    try:
        number = int(digits) if kind == "integer" else float(digits)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _json(value: Any) -> str:
    return files.canonical(value).decode()


def _log(probability: float) -> float:
    return math.log(max(probability, 1e-12))
