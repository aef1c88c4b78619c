"""Read a task file (TOML) into a Task, or say in one sentence what is wrong with it.

Knows nothing of rows, models or builds: a data file must be there, what it holds is not looked at.
"""

from __future__ import annotations

import json
import math
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smallworks.errors import TaskError, nearest
from smallworks.types import KINDS, REFUSAL, BuildOptions, Columns, DataFiles, Flagship, Kind, Targets, Task

FILE_NAME = "task.toml"
DATA_ENDINGS = (".jsonl", ".json", ".csv", ".tsv", ".parquet")
"""What is surely no task file."""

METRICS: Mapping[Kind, tuple[str, ...]] = {
    "classify": ("accuracy", "macro_f1", "micro_f1"),
    "extract": ("field_f1", "exact_match", "json_valid"),
    "answer": ("token_f1", "exact_match"),
    "summarize": ("rouge_l", "rouge_1", "rouge_2"),
    "generate": ("token_f1", "exact_match", "rouge_l", "bleu"),
}
"""The metrics that each kind may target; the first one is its default."""


@dataclass(frozen=True, kw_only=True)
class Rule:
    """What the value of a key must be: `noun` finishes the sentence "… is not <noun>."."""

    noun: str
    holds: Callable[[Any], bool]
    fix: str
    required: bool = False


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and value.strip() != ""


def _is_texts(value: Any) -> bool:
    return (
        isinstance(value, list)
        and value != []
        and all(map(_is_text, value))
        and len(set(value)) == len(value)
    )


def _is_amount(value: Any) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and math.isfinite(value) and value >= 0


def _is_seed(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**32


def _is_name(value: Any) -> bool:
    return _is_text(value) and re.fullmatch(r"[^/\\.\x00-\x1f][^/\\\x00-\x1f]*", value) is not None


def _text(example: str, *, required: bool = False) -> Rule:
    return Rule(noun="a text", holds=_is_text, fix=f"Write it in quotes: {example}.", required=required)


def _path(example: str, *, required: bool = False) -> Rule:
    fix = f"Write it in quotes, relative to the task file: {example}."
    return Rule(noun="the path of a file", holds=_is_text, fix=fix, required=required)


_POSITIVE = Rule(
    noun="a number above 0",
    holds=lambda value: _is_amount(value) and value > 0,
    fix="Write a bare number, such as 50.",
)
_PRICE = Rule(
    noun="a price of 0 or more",
    holds=_is_amount,
    fix="Write US dollars as a bare number, such as 0.15.",
)
_REQUIRED_PRICE = Rule(noun=_PRICE.noun, holds=_PRICE.holds, fix=_PRICE.fix, required=True)

SECTIONS: Mapping[str, Mapping[str, Rule]] = {
    "task": {
        "name": Rule(
            noun="a name for files",
            holds=_is_name,
            fix='Write one line without slashes that does not begin with a dot: name = "tickets".',
            required=True,
        ),
        "kind": _text('kind = "classify"', required=True),
        "instruction": _text('instruction = "Name the kind of the ticket."', required=True),
        "labels": Rule(
            noun="a list of different texts",
            holds=_is_texts,
            fix='Write labels = ["bug", "feature", "question"].',
        ),
        "schema": Rule(
            noun="a JSON schema",
            holds=lambda value: isinstance(value, dict) or _is_text(value),
            fix='Write an inline table, a JSON text, or the path of a JSON file: schema = "schema.json".',
        ),
        "refusal": _text('refusal = "The documents do not say."'),
    },
    "data": {
        "train": _path('train = "data/train.jsonl"', required=True),
        "validation": _path('validation = "data/validation.jsonl"'),
        "test": _path('test = "data/test.jsonl"'),
        "synthetic": _path('synthetic = "data/synthetic.jsonl"'),
        "input": Rule(
            noun="a column or a list of columns",
            holds=lambda value: _is_text(value) or _is_texts(value),
            fix='Write input = "text" or input = ["title", "body"].',
        ),
        "output": _text('output = "label"'),
        "id": _text('id = "id"'),
        "tags": _text('tags = "tags"'),
        "group": _text('group = "customer"'),
        "out_of_scope": _text('out_of_scope = "none"'),
        "documents": Rule(
            noun="the path of a folder",
            holds=_is_text,
            fix='Write it in quotes, relative to the task file: documents = "handbook".',
        ),
        "document": _text('document = "document"'),
    },
    "targets": {
        "metric": _text('metric = "accuracy"'),
        "at_least": Rule(
            noun="a number from 0 to 1",
            holds=lambda value: _is_amount(value) and value <= 1,
            fix="Write a share: 0.90, not 90.",
        ),
        "p95_ms": _POSITIVE,
        "memory_mb": _POSITIVE,
        "cost_per_1000": _PRICE,
        "in_scope_loss": Rule(
            noun="a share above 0 and below 1",
            holds=lambda value: _is_amount(value) and 0 < value < 1,
            fix="Write the share of the rows in scope that may be handed over: 0.02, not 2.",
        ),
    },
    "flagship": {
        "name": _text('name = "gpt-5"', required=True),
        "input_price": _REQUIRED_PRICE,
        "output_price": _REQUIRED_PRICE,
        "url": Rule(
            noun="an http or https address",
            holds=lambda value: _is_text(value) and re.match(r"https?://[^/\s]", value) is not None,
            fix='Write url = "https://host/v1".',
        ),
        "key_env": Rule(
            noun="the name of an environment variable",
            holds=lambda value: _is_text(value) and re.fullmatch(r"[A-Za-z_]\w*", value) is not None,
            fix='Write the variable\'s name, never the key: key_env = "FLAGSHIP_KEY".',
        ),
        "answers": _path('answers = "answers.jsonl"'),
    },
    "build": {
        "base": _text('base = "models/SmolLM2-135M-Instruct"'),
        "embedder": _text('embedder = "sentence-transformers/all-MiniLM-L6-v2"'),
        "reranker": _text('reranker = "cross-encoder/ms-marco-MiniLM-L6-v2"'),
        "seed": Rule(noun="a whole number from 0 to 4294967295", holds=_is_seed, fix="Write seed = 0."),
        "epochs": _POSITIVE,
        "machine_price_per_hour": _PRICE,
    },
}
"""Every section and key that a task file may have."""


def load_task(where: str | Path, *, documents: bool = True) -> Task:
    """The task in a folder (its task.toml) or in a file. Paths in it are relative to that file.

    Raises TaskError for anything that a build would stumble over later: TOML syntax, unknown names,
    values out of range, a schema that does not compile, a data file that is missing. Without `documents`
    their folder is not looked for.
    """
    path = Path(where).absolute()
    if path.is_dir():
        path = path / FILE_NAME
    try:
        task = _task(_parse(path), path.parent)
        if documents and task.data.documents is not None:
            _check_folder(task, task.data.documents)
        return task
    except TaskError as error:
        if path.is_file() and str(path) not in error.what:
            raise TaskError(f"'{path}': {error.what}", fix=error.fix) from error
        raise


def _parse(path: Path) -> dict[str, Any]:
    if not path.is_file():
        folder = path.parent if path.name == FILE_NAME else path
        raise TaskError(
            f"No task file at '{path}'.",
            fix=f"Check the path, or start one with: smallworks init {folder} --kind classify",
        )
    if path.suffix.lower() in DATA_ENDINGS:
        raise TaskError(
            f"'{path}' is a data file.", fix="Give the task's folder, or its task.toml, in which it is named."
        )
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except UnicodeDecodeError as error:
        raise TaskError(f"Byte {error.start + 1} is not UTF-8.", fix="Save the file as UTF-8.") from error
    except tomllib.TOMLDecodeError as error:
        message = str(error).rstrip(".")
        raise TaskError(
            f"Not valid TOML: {message}.", fix="Mend that line; texts stand in quotes."
        ) from error


def _task(document: Mapping[str, Any], folder: Path) -> Task:
    sections = {name: _section(name, document.get(name)) for name in SECTIONS}
    _refuse_unknown_sections(document)
    for name in ("task", "data"):
        _require(name, sections[name])
    task = sections["task"]
    kind = _kind(task["kind"])
    _check_documents(sections["data"], kind)
    labels = _labels(task.get("labels"), kind)
    _check_scope(sections, kind, labels)
    return Task(
        name=task["name"].strip(),
        kind=kind,
        instruction=task["instruction"].strip(),
        folder=folder,
        data=_data(sections["data"], folder),
        targets=_targets(sections["targets"], kind),
        labels=labels,
        schema=_schema(task.get("schema"), kind, folder),
        refusal=_refusal(task.get("refusal"), kind),
        flagship=_flagship(sections["flagship"], folder) if "flagship" in document else None,
        build=_build(sections["build"], folder),
    )


def _section(name: str, section: Any) -> dict[str, Any]:
    """The checked keys of one section; empty when the file leaves it out."""
    if section is None:
        return {}
    if not isinstance(section, dict):
        raise TaskError(f"'{name}' is not a section.", fix=f"Write [{name}] on a line of its own.")
    rules = SECTIONS[name]
    for key, value in section.items():
        if key not in rules:
            raise TaskError(f"[{name}] has an unknown key '{key}'.", fix=_home(key) or nearest(key, rules))
        if not rules[key].holds(value):
            # A value of key_env that is no variable's name may well be the key itself: never say it.
            shown = "" if key == "key_env" else f" = {_shown(value)}"
            raise TaskError(f"[{name}] {key}{shown} is not {rules[key].noun}.", fix=rules[key].fix)
    return section


def _home(key: str) -> str | None:
    homes = [name for name, rules in SECTIONS.items() if key in rules]
    return f"It belongs in [{homes[0]}]." if homes else None


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else text[:57] + "…"


def _refuse_unknown_sections(document: Mapping[str, Any]) -> None:
    for name, value in document.items():
        if name in SECTIONS:
            continue
        if isinstance(value, dict):
            raise TaskError(f"Unknown section [{name}].", fix=nearest(name, SECTIONS))
        raise TaskError(f"The key '{name}' stands outside every section.", fix=_home(name) or "Remove it.")


def _require(name: str, section: Mapping[str, Any]) -> None:
    for key, rule in SECTIONS[name].items():
        if rule.required and key not in section:
            raise TaskError(f"[{name}] lacks the key '{key}'.", fix=rule.fix)


def _kind(word: str) -> Kind:
    for kind in KINDS:
        if kind == word:
            return kind
    raise TaskError(f"[task] kind = '{word}' is unknown.", fix=nearest(word, KINDS))


def _labels(labels: list[str] | None, kind: Kind) -> tuple[str, ...]:
    if labels is None:
        return ()
    if kind != "classify":
        raise TaskError(
            f"[task] labels has no meaning for kind '{kind}'.", fix='Remove it, or set kind = "classify".'
        )
    stripped = tuple(label.strip() for label in labels)
    if len(set(stripped)) < 2 or len(set(stripped)) < len(stripped):
        raise TaskError(
            f"[task] labels = {_shown(labels)} does not name at least two different labels.",
            fix="List every label once, or leave the key out: they are then taken from the data.",
        )
    return stripped


def _meaningless(key: str, kind: Kind, *, only_for: Kind, section: str = "task") -> TaskError:
    return TaskError(
        f"[{section}] {key} has no meaning for kind '{kind}'.", fix=f'Remove it, or set kind = "{only_for}".'
    )


def _check_scope(sections: Mapping[str, Mapping[str, Any]], kind: Kind, labels: Sequence[str]) -> None:
    """Only labels have a scope, and what stands for outside of it is none of them."""
    for section, key in (("data", "out_of_scope"), ("targets", "in_scope_loss")):
        if key in sections[section] and kind != "classify":
            raise _meaningless(key, kind, only_for="classify", section=section)
    outside = sections["data"].get("out_of_scope", "").strip()
    if outside in labels:
        raise TaskError(
            f"[data] out_of_scope = {_shown(outside)} is one of the task's labels.",
            fix="Take it off the labels; or leave out_of_scope out, and it is learnt as a label of its own.",
        )


def _check_documents(data: Mapping[str, Any], kind: Kind) -> None:
    for key in ("documents", "document"):
        if key in data and kind != "answer":
            raise _meaningless(key, kind, only_for="answer", section="data")
    if "document" in data and "documents" not in data:
        raise TaskError(
            "[data] document names a column, and there are no documents.",
            fix='Add the folder that they are in: documents = "handbook".',
        )


def _schema(value: Any, kind: Kind, folder: Path) -> Mapping[str, Any] | None:
    if value is None:
        if kind == "extract":
            what = "[task] lacks the key 'schema', which kind 'extract' needs."
            raise TaskError(what, fix='Add the path of a JSON schema: schema = "schema.json".')
        return None
    if kind != "extract":
        raise _meaningless("schema", kind, only_for="extract")
    schema = value if isinstance(value, dict) else _schema_from_text(value, folder)
    _compile(schema)
    return schema


def _refusal(sentence: str | None, kind: Kind) -> str:
    if sentence is None:
        return REFUSAL
    if kind != "answer":
        raise _meaningless("refusal", kind, only_for="answer")
    return sentence.strip()


def _schema_from_text(text: str, folder: Path) -> Mapping[str, Any]:
    source = "[task] schema"
    if not text.lstrip().startswith("{"):
        source = f"The schema file '{text}'"
        text = _existing(text, folder, "[task] schema").read_text(encoding="utf-8-sig")
    try:
        schema = json.loads(text)
    except json.JSONDecodeError as error:
        raise TaskError(
            f"{source} is not valid JSON at line {error.lineno}, column {error.colno}: {error.msg}.",
            fix="Mend that line.",
        ) from error
    if not isinstance(schema, dict):
        raise TaskError(
            f"{source} is {_shown(schema)}, not a JSON object.", fix='Begin with {"type": "object", …}.'
        )
    return schema


def _compile(schema: Mapping[str, Any]) -> None:
    import jsonschema_rs

    def refuse(address: str) -> Any:
        raise ValueError(f"'{address}' is outside the schema")

    try:
        jsonschema_rs.validator_for(dict(schema), retriever=refuse)
    except ValueError as error:  # jsonschema_rs.ValidationError is one
        where = "".join(f"[{part}]" for part in getattr(error, "instance_path", [])) or "its root"
        message = getattr(error, "message", str(error)).rstrip(".")
        raise TaskError(
            f"[task] schema is not a valid JSON schema at {where}: {message}.",
            fix="Mend it there; references must stay inside the schema ('#/$defs/…').",
        ) from error


def _data(section: Mapping[str, Any], folder: Path) -> DataFiles:
    files = {
        role: _existing(section[role], folder, f"[data] {role}")
        for role in ("train", "validation", "test", "synthetic")
        if role in section
    }
    roles = list(files)
    for index, role in enumerate(roles):
        for other in roles[:index]:
            if files[role].samefile(files[other]):
                raise TaskError(
                    f"[data] {other} and {role} are the same file, '{section[role]}'.",
                    fix=f"Leave out '{role}': it is then split off '{other}'."
                    if other == "train"
                    else f"Name two different files, or leave out '{role}'.",
                )
    given = section.get("input")
    columns = Columns(
        input=tuple(given) if isinstance(given, list) else given,
        output=section.get("output"),
        id=section.get("id"),
        tags=section.get("tags"),
        group=section.get("group"),
        document=section.get("document"),
    )
    return DataFiles(
        train=files["train"],
        validation=files.get("validation"),
        test=files.get("test"),
        columns=columns,
        synthetic=files.get("synthetic"),
        out_of_scope=section["out_of_scope"].strip() if "out_of_scope" in section else None,
        documents=folder / Path(section["documents"]).expanduser() if "documents" in section else None,
    )


def _check_folder(task: Task, documents: Path) -> None:
    """The documents are there, and no row of the task is among them: its answers would be found there."""
    if not documents.is_dir():
        raise TaskError(
            f"[data] documents: there is no folder '{documents}'.",
            fix="Name the folder that holds the documents, relative to the task file.",
        )
    data, answers = task.data, task.flagship.answers if task.flagship else None
    for path in filter(None, (data.train, data.validation, data.test, data.synthetic, answers)):
        if path.resolve().is_relative_to(documents.resolve()):
            raise TaskError(
                f"'{path}' lies below the [data] documents '{documents}': its answers would be indexed.",
                fix="Put the documents in a folder of their own.",
            )


def _existing(name: str, folder: Path, key: str) -> Path:
    path = folder / Path(name).expanduser()
    if path.is_file():
        return path
    if path.is_dir():
        raise TaskError(f"{key} = '{name}' is a folder, not a file.", fix="Name a file in it.")
    there = [file.name for file in path.parent.iterdir() if file.is_file()] if path.parent.is_dir() else []
    hint = nearest(path.name, there) if there else ""
    raise TaskError(
        f"{key} = '{name}': there is no file '{path}'.",
        fix=hint if hint.startswith("Did you mean") else "Put the file there or mend the path.",
    )


def _targets(section: Mapping[str, Any], kind: Kind) -> Targets:
    metric = section.get("metric", METRICS[kind][0])
    if metric not in METRICS[kind]:
        raise TaskError(
            f"[targets] metric = '{metric}' is not a metric of kind '{kind}'.",
            fix=nearest(metric, METRICS[kind]),
        )
    return Targets(**{**section, "metric": metric})


def _flagship(section: Mapping[str, Any], folder: Path) -> Flagship:
    _require("flagship", section)
    answers = section.get("answers")
    found = None if answers is None else _existing(answers, folder, "[flagship] answers")
    return Flagship(**{**section, "answers": found})


def _build(section: Mapping[str, Any], folder: Path) -> BuildOptions:
    """Models named by a path that exists beside the task file become that path; other names stay."""
    local = {
        key: str(folder / Path(section[key]).expanduser())
        for key in ("base", "embedder", "reranker")
        if key in section and (folder / Path(section[key]).expanduser()).exists()
    }
    return BuildOptions(**{**section, **local})
