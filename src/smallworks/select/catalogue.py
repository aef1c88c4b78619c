"""The catalogue of base models: rows of a TOML file as checked values; a user's own rows beside ours.

Knows what a row must hold and that its numbers agree; knows no machine and no task.
"""

from __future__ import annotations

import dataclasses
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args, get_type_hints

from smallworks.engines.shape import Shape
from smallworks.errors import ModelError, nearest
from smallworks.select.architecture import Architecture, Kind, active, shape_of, total

OURS = Path(__file__).parent / "catalogue.toml"
OWN = "catalogue.toml"
"""The file of a user's own rows, beside the task file."""
AGREES = 0.01
"""How far a stated parameter count may be from the one that its architecture makes."""
Permission = Literal["yes", "conditions", "no"]


@dataclass(frozen=True, kw_only=True)
class Licence:
    """What a licence allows, in short; `terms` are its conditions in a clause. No legal advice."""

    name: str
    commercial: Permission
    redistribute: Permission
    terms: str
    url: str = ""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One base model. `type` is transformers' model_type; `languages` are those that its makers name.

    `revision` is a commit of the hub where one was checked. `embedding`: made for sentence embeddings;
    `code`: for program text; `gated`: the hub asks you to accept its terms first.
    """

    name: str
    hub: str
    kind: Kind
    type: str
    parameters: int
    licence: str
    languages: tuple[str, ...]
    context: int
    released: str
    sources: tuple[str, ...]
    architecture: Architecture
    active: int = 0
    revision: str = ""
    embedding: bool = False
    code: bool = False
    gated: bool = False

    @property
    def shape(self) -> Shape:
        return shape_of(self.architecture, self.kind, name=self.type, context=self.context)

    @property
    def used(self) -> int:
        """Parameters that one token goes through."""
        return self.active or self.parameters

    @property
    def ref(self) -> str:
        """What `--base` and `--embedder` take: pinned where a commit is known."""
        return f"{self.hub}@{self.revision}" if self.revision else self.hub


@dataclass(frozen=True, kw_only=True)
class Catalogue:
    entries: tuple[Entry, ...]
    licences: Mapping[str, Licence]
    languages: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)

    def licence(self, entry: Entry) -> Licence:
        return self.licences[entry.licence]


@dataclass(frozen=True)
class _Rule:
    """`noun` finishes the sentence "… is not <noun>."."""

    noun: str
    holds: Callable[[Any], bool]
    required: bool = True


def _text(value: Any) -> bool:
    return isinstance(value, str) and value.strip() != ""


def _count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _one_of(*words: str) -> _Rule:
    return _Rule(f"one of {', '.join(words)}", lambda value: value in words)


def _matches(noun: str, pattern: str, *, required: bool = True) -> _Rule:
    def holds(value: Any) -> bool:
        return isinstance(value, str) and re.fullmatch(pattern, value) is not None

    return _Rule(noun, holds, required)


_TEXT = _Rule("a text", _text)
_SWITCH = _Rule("true or false", lambda value: isinstance(value, bool), required=False)
_LANGUAGES = _Rule(
    "a list of language codes or the name of a group",
    lambda value: _text(value) or (isinstance(value, list) and value != [] and all(map(_text, value))),
)
ROW: Mapping[str, _Rule] = {
    "name": _TEXT,
    "hub": _Rule('a hub id such as "owner/name", or a path', _text),
    "kind": _one_of(*get_args(Kind)),
    "type": _TEXT,
    "parameters": _Rule("a whole number above 0", _count),
    "active": _Rule("a whole number above 0", _count, required=False),
    "licence": _TEXT,
    "languages": _LANGUAGES,
    "context": _Rule("a number of tokens", _count),
    "released": _matches('a month such as "2025-04"', r"\d{4}-(0[1-9]|1[0-2])"),
    "revision": _matches("a commit of 40 hexadecimal digits", "[0-9a-f]{40}", required=False),
    "embedding": _SWITCH,
    "code": _SWITCH,
    "gated": _SWITCH,
    "sources": _Rule("a list of texts", lambda v: isinstance(v, list) and all(map(_text, v)), required=False),
    "shape": _Rule("a table of numbers", lambda value: isinstance(value, dict)),
}
LICENCE: Mapping[str, _Rule] = {
    "name": _TEXT,
    "commercial": _one_of(*get_args(Permission)),
    "redistribute": _one_of(*get_args(Permission)),
    "terms": _TEXT,
    "url": _Rule("a text", _text, required=False),
}


@cache
def ours() -> Catalogue:
    """The catalogue of this package."""
    return read(OURS)


def load(*files: Path) -> Catalogue:
    """Ours with the rows of `files` added in turn; a row replaces an earlier one of the same hub id."""
    whole = ours()
    for path in files:
        whole = read(path, beside=whole)
    return whole


def read(path: Path, *, beside: Catalogue | None = None) -> Catalogue:
    """The rows of one file, after those of `beside`, whose licences and groups it may name.

    Raises ModelError for what is missing, unknown, of the wrong kind or does not add up.
    """
    document = _parse(path)
    known = ("model", "licences", "languages", "sources")
    for key in document:
        if key not in known:
            raise ModelError(f"'{path}' has an unknown section '{key}'.", fix=nearest(key, known))
    before = beside or Catalogue(entries=(), licences={})
    licences = dict(before.licences)
    for name, row in document.get("licences", {}).items():
        licences[name] = Licence(**_checked(row, LICENCE, f"'{path}', licence '{name}'"))
    groups = {**before.languages, **{k: tuple(v) for k, v in document.get("languages", {}).items()}}
    rows = document.get("model", [])
    if not isinstance(rows, list):
        raise ModelError(f"'{path}': 'model' is not a list of rows.", fix="Write [[model]] over each.")
    added = [_entry(row, n, path, licences, groups) for n, row in enumerate(rows, 1)]
    entries = {entry.hub: entry for entry in (*before.entries, *added)}
    sources = {**before.sources, **document.get("sources", {})}
    return Catalogue(entries=tuple(entries.values()), licences=licences, languages=groups, sources=sources)


def _parse(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise ModelError(f"There is no catalogue file '{path}'.", fix="Check the path.")
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        said = str(error).rstrip(".")
        raise ModelError(f"'{path}' is not valid TOML: {said}.", fix="Mend that line.") from error


def _entry(
    row: Any,
    number: int,
    path: Path,
    licences: Mapping[str, Licence],
    groups: Mapping[str, tuple[str, ...]],
) -> Entry:
    name = row.get("name") if isinstance(row, dict) else None
    where = f"'{path}', model {number}" + (f" ('{name}')" if _text(name) else "")
    values = _checked(row, ROW, where)
    if values["licence"] not in licences:
        raise ModelError(
            f"{where}: the licence '{values['licence']}' is not described.",
            fix=f"{nearest(values['licence'], licences)} Or add [licences.{values['licence']}] to the file.",
        )
    sizes = _architecture(values.pop("shape"), where)
    languages = _languages(values.pop("languages"), groups, where)
    sources = tuple(values.pop("sources", ()))
    entry = Entry(**values, languages=languages, sources=sources, architecture=sizes)
    _add_up(entry, where)
    return entry


def _checked(row: Any, rules: Mapping[str, _Rule], where: str) -> dict[str, Any]:
    if not isinstance(row, dict):
        raise ModelError(f"{where} is {row!r}, not a table.", fix="Write its keys below it.")
    for key, value in row.items():
        if key not in rules:
            raise ModelError(f"{where} has an unknown key '{key}'.", fix=nearest(key, rules))
        if not rules[key].holds(value):
            raise ModelError(f"{where}: {key} = {value!r} is not {rules[key].noun}.", fix="Mend it there.")
    for key, rule in rules.items():
        if rule.required and key not in row:
            raise ModelError(f"{where} lacks the key '{key}'.", fix=f"Add {key}: {rule.noun}.")
    return dict(row)


def _languages(given: Any, groups: Mapping[str, tuple[str, ...]], where: str) -> tuple[str, ...]:
    if isinstance(given, list):
        return tuple(given)
    if given not in groups:
        raise ModelError(
            f"{where}: there is no group of languages '{given}'.",
            fix=f'{nearest(given, groups)} Or list the codes: languages = ["en"].',
        )
    return groups[given]


def _architecture(given: Mapping[str, Any], where: str) -> Architecture:
    fields = {f.name: f for f in dataclasses.fields(Architecture)}
    kinds = get_type_hints(Architecture)
    for key, value in given.items():
        if key not in fields:
            raise ModelError(f"{where}: shape has an unknown key '{key}'.", fix=nearest(key, fields))
        words = get_args(kinds[key])
        right = value in words if words else type(value) is kinds[key] and value >= 0
        if not right:
            said = f"one of {', '.join(words)}" if words else f"a {kinds[key].__name__} of 0 or more"
            raise ModelError(f"{where}: shape {key} = {value!r} is not {said}.", fix="Mend it there.")
    for key, one in fields.items():
        if one.default is dataclasses.MISSING and not given.get(key):
            raise ModelError(f"{where}: shape lacks '{key}'.", fix="Take it from the model's config.json.")
    if not given.get("intermediate") and not given.get("expert_intermediate"):
        raise ModelError(
            f"{where}: shape has no feed-forward width.", fix="Add intermediate, or the experts' numbers."
        )
    return Architecture(**given)


def _add_up(entry: Entry, where: str) -> None:
    """Raises ModelError where the stated counts are not those of the architecture."""
    stated = {"parameters": (entry.parameters, total(entry.architecture, entry.kind))}
    stated["active"] = (entry.used, active(entry.architecture, entry.kind))
    for key, (said, counted) in stated.items():
        if abs(counted - said) > AGREES * said:
            raise ModelError(
                f"{where}: {key} = {said:,}, but its shape makes {counted:,}.",
                fix="Mend the one that is wrong: config.json has the shape.",
            )
