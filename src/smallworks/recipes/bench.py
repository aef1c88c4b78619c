"""Latency and throughput of a server under load: any OpenAI-shaped one, or a bundle served for the run.

Knows what is asked and in which order the levels go; the loops and the statistics are `evaluate`'s.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from smallworks import settings
from smallworks.bundle import open_bundle
from smallworks.bundle.golden import read as read_golden
from smallworks.data.read import read_rows
from smallworks.engines.openai_shape import refused_field, without
from smallworks.errors import DataError, RequestError, UserError
from smallworks.evaluate import energy
from smallworks.evaluate.level import Level, level
from smallworks.evaluate.load import Load, Reply, run
from smallworks.evaluate.wire import Wire, words
from smallworks.recipes.served import served
from smallworks.seams import Progress, silent
from smallworks.starter import TASKS

Route = Literal["chat", "classify"]
PATHS: dict[Route, str] = {"chat": "/v1/chat/completions", "classify": "/v1/classify"}
NAMED = ("text", "input", "prompt", "question", "instruction", "message")
"""Columns that hold what is asked, in this order; else the first one."""
MOST_PROMPTS = 10_000
HOST = r"[\w.-]+:\d+(/.*)?"
"""A server whose URL lacks its beginning."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What every request of a run has in common. `model` None is the first that the server names."""

    route: Route | None = None
    stream: bool = False
    model: str | None = None
    max_tokens: int = 64
    prompts: Path | None = None
    key_env: str | None = None
    timeout: float = 60.0
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class Bench:
    """All levels, and what was asked: `prompts` different inputs, from `source`, in a seeded order."""

    url: str
    local: bool
    bundle: Path | None
    route: Route
    stream: bool
    model: str | None
    prompts: int
    source: str
    energy: str
    levels: tuple[Level, ...]


def bench(target: str, loads: Sequence[Load], options: Options, *, progress: Progress = silent) -> Bench:
    """Put every load to a URL, or to a bundle's folder that is served meanwhile.

    Raises UserError where the server cannot be reached, RequestError where it refuses the first request.
    """
    if options.max_tokens < 1:
        raise UserError(f"--max-tokens {options.max_tokens} leaves no answer.", fix="Give 1 or more.")
    key = settings.secret(options.key_env) if options.key_env else None
    if target.startswith(("http://", "https://")):
        inputs, source = _inputs(options.prompts, None)
        return _at(
            target,
            None,
            loads,
            replace(options, route=options.route or "chat"),
            inputs,
            source,
            key,
            progress,
        )
    if re.fullmatch(HOST, target) and not Path(target).exists():
        raise UserError(f"No bundle at '{target}'.", fix=f"For a server write: http://{target}")
    bundle = open_bundle(Path(target))
    usual: Route = "classify" if bundle.manifest.kind == "classify" and not options.stream else "chat"
    inputs, source = _inputs(options.prompts, bundle.path)
    progress("serve the bundle", 0, 0, "")
    with served(bundle.path) as url:
        progress("serve the bundle", 1, 1, "done")
        chosen = replace(options, route=options.route or usual)
        return _at(url, bundle.path, loads, chosen, inputs, source, key, progress)


def _at(
    url: str,
    bundle: Path | None,
    loads: Sequence[Load],
    options: Options,
    inputs: Sequence[str],
    source: str,
    key: str | None,
    progress: Progress,
) -> Bench:
    assert options.route is not None
    if options.stream and options.route == "classify":
        raise UserError("/v1/classify does not stream.", fix="Leave out --stream, or add --route chat.")
    wire = Wire(url, timeout=options.timeout, key=key)
    model = options.model or first_model(wire)
    bodies = _agreed(wire, options, model, inputs)
    path, order = PATHS[options.route], list(range(len(bodies)))
    random.Random(options.seed).shuffle(order)

    def ask(number: int) -> Reply:
        return wire.ask(path, bodies[order[number % len(order)]], stream=options.stream)

    levels = tuple(_level(load, ask, options.seed, progress) for load in loads)
    told = all(one.joules is not None for one in levels)
    absent = f"not told: no RAPL counters that may be read below {energy.POWERCAP}"
    return Bench(
        url=url,
        local=wire.local,
        bundle=bundle,
        route=options.route,
        stream=options.stream,
        model=model,
        prompts=len(set(inputs)),
        source=source,
        energy="processor packages of the machine that runs this tool" if told else absent,
        levels=levels,
    )


def _level(load: Load, ask: Any, seed: int, progress: Progress) -> Level:
    before = energy.read()
    done = run(load, ask, seed=seed, progress=progress)
    return level(load, done, joules=energy.joules(before, energy.read()))


def _inputs(file: Path | None, bundle: Path | None) -> tuple[list[str], str]:
    """What is asked, and where it comes from: a file, the bundle's golden rows, or the sample task."""
    golden = read_golden(bundle) if bundle and not file else ()
    if golden:
        return [_joined(row.inputs) for row in golden], "the bundle's golden rows"
    path = file or TASKS["tickets"] / "test.csv"
    if not path.is_file():
        said = f"'{path}' is a folder." if path.is_dir() else f"No data file at '{path}'."
        raise DataError(said, fix="Name a .txt of one text a line, or a data file such as rows.jsonl.")
    found = _lines(path) if path.suffix.lower() == ".txt" else [_text(row) for _, row in read_rows(path)]
    texts = [text for text in found[:MOST_PROMPTS] if text.strip()]
    if not texts:
        raise DataError(f"'{path}' holds nothing to ask.", fix="Give a file with one text a row.")
    return texts, str(file) if file else "the sample task's test rows"


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"'{path}' cannot be read: {error}.", fix="Check the path; save it as UTF-8."
        ) from error


def _joined(inputs: Mapping[str, str]) -> str:
    return (
        next(iter(inputs.values())) if len(inputs) == 1 else "\n".join(f"{k}: {v}" for k, v in inputs.items())
    )


def _text(row: Mapping[str, Any]) -> str:
    named = {name.casefold(): value for name, value in row.items()}
    found = next((named[name] for name in NAMED if named.get(name)), next(iter(row.values()), ""))
    return str(found)


def first_model(wire: Wire) -> str | None:
    """The first model that the server lists; None where it lists none, as some do."""
    answered = wire.fetch("GET", "/v1/models")
    try:
        listed = json.loads(answered.body)["data"] if answered.status == 200 else []
        return str(listed[0]["id"]) if listed else None
    except (ValueError, KeyError, TypeError, IndexError):
        return None


def _body(options: Options, model: str | None, text: str) -> dict[str, Any]:
    head: dict[str, Any] = {"model": model} if model else {}
    if options.route == "classify":
        return {**head, "input": text}
    messages = [{"role": "user", "content": text}]
    body = {**head, "messages": messages, "max_tokens": options.max_tokens, "temperature": 0}
    return {**body, "stream": True, "stream_options": {"include_usage": True}} if options.stream else body


def _agreed(wire: Wire, options: Options, model: str | None, inputs: Sequence[str]) -> list[bytes]:
    """The bodies of all requests, without what the server refuses in a first one. Raises RequestError."""
    assert options.route is not None
    refused: set[str] = set()
    while True:
        body = without(_body(options, model, inputs[0]), refused)
        answered = wire.fetch("POST", PATHS[options.route], json.dumps(body).encode())
        if answered.status == 200:
            break
        field = refused_field(_object(answered.body), body)
        if field is None or field in refused:
            raise RequestError(
                f"The server answered the first request with {answered.status}: {words(answered.body)}.",
                fix="Check --model, --route and --key-env; a key is sent only where --key-env names it.",
            )
        refused.add(field)
    return [json.dumps(without(_body(options, model, text), refused)).encode() for text in inputs]


def _object(body: bytes) -> Mapping[str, Any]:
    try:
        value = json.loads(body)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
