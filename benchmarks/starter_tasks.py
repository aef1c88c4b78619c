"""Tasks to measure the starter on: labels and countries held out of its training, and public sets."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any

from benchmarks.claim import Skipped
from benchmarks.command import smallworks
from benchmarks.shared import ROOT, shared

SEED = 11
SNIPS = {
    "AddToPlaylist": "add to playlist",
    "BookRestaurant": "book a restaurant",
    "GetWeather": "get the weather",
    "PlayMusic": "play music",
    "RateBook": "rate a book",
    "SearchCreativeWork": "find a creative work",
    "SearchScreeningEvent": "find a movie screening",
}
"""The seven intents, and plain names for them as a user would list them."""


def held_out_topics(folder: Path, rows: int = 600) -> Path:
    """Five WordNet categories that were never a label in training, and definitions never classified there."""
    corpora, topics, classify = _training("corpora", "curriculum.topics", "curriculum.classify")
    glosses = corpora.read(shared("corpora")).glosses
    chosen = [gloss for gloss in topics.short(glosses) if gloss.topic in topics.HELD_OUT]
    picked = Random(SEED).sample(chosen, min(rows, len(chosen)))
    found = [(classify.described(gloss), topics.NAMES[gloss.topic][0]) for gloss in picked]
    labels = [topics.NAMES[topic][0] for topic in sorted(topics.HELD_OUT)]
    few = [row for label in labels for row in [pair for pair in found if pair[1] == label][:5]]
    rest = [row for row in found if row not in few]
    return _labelled(folder, "What kind of thing is described?", labels, few, rest)


def snips_intents(folder: Path) -> Path:
    """The 700 validation sentences of SNIPS, seven intents."""
    found = {label: [text for text, _ in snips(intent, "validate")] for intent, label in SNIPS.items()}
    few = [(text, label) for label, texts in found.items() for text in texts[:5]]
    rest = [(text, label) for label, texts in found.items() for text in texts[5:]]
    return _labelled(folder, "What does the customer want?", list(SNIPS.values()), few, rest)


def snips_slots(folder: Path, rows: int = 500) -> Path:
    """Named parts of requests: `rows` training sentences over seven intents, the 700 validation sentences."""
    random = Random(SEED)
    train = [row for intent in SNIPS for row in random.sample(snips(intent, "train"), rows // len(SNIPS) + 1)]
    test = [row for intent in SNIPS for row in snips(intent, "validate")]
    names = sorted({name for _, slots in (*train, *test) for name in slots})
    schema = {
        "type": "object",
        "properties": {name: {"type": "string", "x-verbatim": True} for name in names},
        "additionalProperties": False,
    }
    random.shuffle(train)
    written = [[(text, json.dumps(slots)) for text, slots in part] for part in (train[:rows], test)]
    return _task(folder, "extract", "Extract the parts of the request.", *written, schema=schema)


def snips(intent: str, part: str) -> list[tuple[str, dict[str, str]]]:
    """Sentences with their slots; a name that occurs twice keeps its first value."""
    path = shared("data/snips_original") / intent / f"{part}_{intent}.json"
    found = []
    for row in json.loads(path.read_text(encoding="utf-8", errors="replace"))[intent]:
        text = "".join(piece["text"] for piece in row["data"]).strip()
        slots: dict[str, str] = {}
        for piece in row["data"]:
            if "entity" in piece:
                slots.setdefault(piece["entity"], piece["text"].strip())
        if slots and all(value and value in text for value in slots.values()):
            found.append((text, slots))
    return found


def countries(folder: Path, brief: bool, rows: int = 800) -> Path:
    """Questions on fact sheets never trained on, half of them without an answer there.

    The answer is the line that holds it, as the curriculum has it, or when `brief` the value alone. Of 800
    questions 400 have none, so that one of them is half of the half point that quantising may cost.
    """
    corpora, facts, answer = _training("corpora", "curriculum.facts", "curriculum.answer")
    source = corpora.read(shared("corpora"))
    random = Random(SEED)
    found: list[tuple[str, str]] = []
    while len(found) < rows + 40:
        record = facts.country(random, source, held_out=True)
        if record is None or record.missing is None:
            continue
        asked = record.missing if len(found) % 2 else random.choice(record.facts)
        said = str(asked.value) if brief else asked.answer
        reply = answer.UNKNOWN if len(found) % 2 else said
        found.append((f"Context: {record.text}\n\nQuestion: {asked.question}", reply))
    instruction = answer.BRIEF[1] if brief else answer.INSTRUCTIONS[0]
    return _task(folder, "answer", instruction, found[:40], found[40:])


def figures(task: Path, only: str, folder: Path, metrics: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The named metrics of each candidate of a build, with interval and n."""
    document = smallworks("build", task, "--only", only, "--json", folder=folder).json()
    found = {}
    for row in document["candidates"]:
        if row["skipped"]:
            raise RuntimeError(f"{row['name']} was not measured: {row['skipped']}")
        found[row["name"]] = {name: row["metrics"][name] for name in metrics}
    return found


def _training(*names: str) -> list[Any]:
    """Modules of the generator, which is part of the repository and not of the package."""
    import importlib

    if not (ROOT / "training" / "starter").is_dir():
        raise Skipped("the curriculum is absent: run from a checkout of the repository")
    if str(ROOT) not in sys.path:
        sys.path.insert(0, str(ROOT))
    return [importlib.import_module(f"training.starter.{name}") for name in names]


Pairs = Iterable[tuple[str, str]]


def _labelled(folder: Path, instruction: str, labels: Sequence[str], train: Pairs, test: Pairs) -> Path:
    return _task(folder, "classify", instruction, train, test, labels=labels)


def _task(
    folder: Path,
    kind: str,
    instruction: str,
    train: Pairs,
    test: Pairs,
    *,
    labels: Sequence[str] = (),
    schema: Mapping[str, Any] | None = None,
) -> Path:
    folder.mkdir(parents=True)
    for name, rows in (("train.csv", train), ("test.csv", test)):
        with (folder / name).open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([("input", "output"), *rows])
    lines = ["[task]", f'name = "{folder.name}"', f'kind = "{kind}"', f'instruction = "{instruction}"']
    if labels:
        lines.append(f"labels = {json.dumps(list(labels))}")
    if schema:
        (folder / "schema.json").write_text(json.dumps(schema), encoding="utf-8")
        lines.append('schema = "schema.json"')
    lines += ["[data]", 'train = "train.csv"', 'test = "test.csv"', 'input = "input"', 'output = "output"']
    (folder / "task.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder
