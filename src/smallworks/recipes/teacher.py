"""Who labels rows and writes new ones: the task's flagship behind its server, or a bundle on this machine.

Knows one question at a time; knows nothing of files, budgets or what becomes of an answer.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from smallworks import files
from smallworks.bundle import open_bundle as open_checked
from smallworks.engines.http import Http
from smallworks.engines.openai_shape import named_choice
from smallworks.engines.opening import open_bundle
from smallworks.engines.predictor import Predictor
from smallworks.errors import BundleError, UserError
from smallworks.evaluate.parse import parse
from smallworks.evaluate.scores import refuses
from smallworks.prompt import Renderer, prompt_hash
from smallworks.recipes.flagship import price, remote_choices
from smallworks.types import Choices, Flagship, Message, Prompt, PromptSpec, Sampling, Task

LABEL_TOKENS = 256
"""Room for a label: a reasoning model spends some before it answers."""
TEXT_TOKENS = 2048
LEAST_SHARE = 1e-4
"""Probabilities below this are not kept: with many labels they are most of the file and say nothing."""
SORRY = re.compile(
    r"\W*(?:(?:i'?m|i am) (?:very )?sorry\b|sorry, |i (?:can'?t|cannot|can not)\b|as an ai\b)", re.I
)
"""How a model's refusal begins. Only for texts: a label or a JSON document is checked for what it is."""


@dataclass(frozen=True, kw_only=True)
class Said:
    """One answer as it came. `cut` says that the token limit ended it; `probabilities` are of labels.

    `date` (ISO 8601, UTC) is set when it is kept.
    """

    text: str
    tokens_in: int
    tokens_out: int
    cut: bool = False
    probabilities: Mapping[str, float] | None = None
    date: str = ""


@dataclass(frozen=True, kw_only=True)
class Checked:
    """An answer as a row's output, or the reason why it is none."""

    output: str | None
    reason: str = ""


class Teacher(Protocol):
    name: str
    """What stands in the tags of a row: the flagship's or the bundle's name."""
    kind: str
    """'flagship' or 'bundle'."""
    identity: str
    """Tells its answers from those of any other."""

    def key(self, text: str, *, again: bool = False) -> str:
        """Names the question: the same for the same model, prompt and pass."""
        ...

    def ask(self, text: str, *, again: bool = False) -> Said:
        """The task on one text. `again` is the second pass, which asks a little differently."""
        ...

    def write(self, messages: Sequence[Message], sampling: Sampling) -> Said:
        """A free text. Raises RequestError where the model only labels."""
        ...

    def length(self, text: str) -> int:
        """Characters of the whole prompt around a text, for the estimate."""
        ...

    def price(self, said: Said) -> float:
        """Dollars that this answer cost; 0 on this machine."""
        ...

    def close(self) -> None: ...


def open_teacher(task: Task, labels: Sequence[str], bundle: Path | None = None) -> Teacher:
    """The bundle where one is named, else the task's flagship. Raises UserError where there is neither."""
    if bundle is not None:
        manifest = open_checked(bundle).manifest
        if manifest.remote is not None:
            raise UserError(
                f"The bundle '{bundle}' is the server {manifest.remote.url}, whose prices it does not know.",
                fix="Name that server and its prices under [flagship] in task.toml, and leave out --teacher.",
            )
        return Local(task, labels, open_bundle(bundle), name=bundle.absolute().name)
    if task.flagship is None or task.flagship.url is None:
        raise UserError(
            f"The task '{task.name}' names no server to ask: [flagship] url in task.toml.",
            fix="Add it (any OpenAI-shaped server), or name a bundle: --teacher PATH.",
        )
    return Remote(task, labels, task.flagship)


class Remote:
    """The flagship's server. One of ours carries the task's prompt itself, and is sent the text alone."""

    kind = "flagship"

    def __init__(self, task: Task, labels: Sequence[str], flagship: Flagship) -> None:
        assert flagship.url is not None
        self.name = flagship.name
        self.identity = f"{flagship.url} {flagship.name}"
        self._flagship = flagship
        self._model = Http(flagship.url, flagship.name, key_env=flagship.key_env)
        own = self._model.about().get("smallworks")
        if own:
            _refuse_other_task(
                task, labels, own["kind"], own["labels"], what=f"{flagship.name} at {flagship.url}"
            )
        self._choices: Choices | None = remote_choices(tuple(labels))
        spec = PromptSpec(
            style="raw" if own else "chat",
            kind=task.kind,
            instruction=task.instruction,
            choices=self._choices,
            schema=task.schema,
        )
        self._first = Renderer(spec)
        self._second = Renderer(replace(spec, choices=_reversed(self._choices)))
        self._sampling = Sampling(
            max_tokens=LABEL_TOKENS if labels else TEXT_TOKENS, schema=None if own else task.schema
        )

    def key(self, text: str, *, again: bool = False) -> str:
        return files.hash_value([self.identity, prompt_hash(self._prompt(text, again)), again])

    def ask(self, text: str, *, again: bool = False) -> Said:
        """The second pass lists the labels in reverse, or draws at temperature 1."""
        prompt = self._prompt(text, again)
        if self._choices is None:
            return self._generate(prompt, replace(self._sampling, temperature=1.0 if again else 0.0))
        choices = self._second.spec.choices if again else self._choices
        assert choices is not None
        done, row = self._model.say(prompt, self._sampling, choices)
        at = named_choice(done.text, choices)
        return Said(
            text=choices.labels[at] if at is not None else done.text,
            tokens_in=done.tokens_in,
            tokens_out=done.tokens_out,
            cut=done.finish == "length" and at is None,
            probabilities=_shares(choices.labels, row, at),
        )

    def write(self, messages: Sequence[Message], sampling: Sampling) -> Said:
        text = "\n\n".join(message.content for message in messages)
        return self._generate(Prompt(text=text, messages=tuple(messages)), sampling)

    def length(self, text: str) -> int:
        return len(self._prompt(text, again=False).text)

    def price(self, said: Said) -> float:
        return price(self._flagship, said.tokens_in, said.tokens_out)

    def close(self) -> None:
        self._model.close()

    def _prompt(self, text: str, again: bool) -> Prompt:
        return (self._second if again else self._first).prompt(text)

    def _generate(self, prompt: Prompt, sampling: Sampling) -> Said:
        done = self._model.generate(prompt, sampling)
        cut = done.finish == "length"
        return Said(text=done.text, tokens_in=done.tokens_in, tokens_out=done.tokens_out, cut=cut)


class Local:
    """A bundle on this machine: it answers as it was frozen, costs no money, and says the same twice."""

    kind = "bundle"

    def __init__(self, task: Task, labels: Sequence[str], predictor: Predictor, *, name: str) -> None:
        manifest = predictor.manifest
        choices = manifest.prompt.choices
        _refuse_other_task(task, labels, manifest.kind, choices.labels if choices else None, what=name)
        self.name = self.identity = name
        self._predictor = predictor

    def key(self, text: str, *, again: bool = False) -> str:
        return files.hash_value([self.identity, text, again])

    def ask(self, text: str, *, again: bool = False) -> Said:
        said = self._predictor.answer(text)
        kept = {label: share for label, share in (said.probabilities or {}).items() if share >= LEAST_SHARE}
        return Said(
            text=said.text,
            tokens_in=said.tokens_in,
            tokens_out=said.tokens_out,
            cut=said.finish == "length",
            probabilities=kept or None,
        )

    def write(self, messages: Sequence[Message], sampling: Sampling) -> Said:
        *_, last = self._predictor.chat(messages, sampling)
        assert last.completion is not None
        done = last.completion
        cut = done.finish == "length"
        return Said(text=done.text, tokens_in=done.tokens_in, tokens_out=done.tokens_out, cut=cut)

    def length(self, text: str) -> int:
        return len(text)

    def price(self, said: Said) -> float:
        return 0.0

    def close(self) -> None:
        self._predictor.close()


def check(task: Task, labels: Sequence[str], said: Said) -> Checked:
    """The answer as an output of the task, or why it is none, in a few words."""
    text = said.text.strip()
    if said.cut:
        return Checked(output=None, reason="cut off by the token limit")
    if not text:
        return Checked(output=None, reason="empty")
    if task.kind == "classify":
        named = text in labels
        return Checked(output=text if named else None, reason="" if named else "not one of the labels")
    if task.kind == "extract":
        return _document(task, text)
    refused = SORRY.match(text.replace("’", "'")) and not refuses(text, task.refusal)
    return Checked(output=None, reason="refused") if refused else Checked(output=text)


def _document(task: Task, text: str) -> Checked:
    """A JSON document by the schema; one inside a fence or between sentences counts too."""
    read = parse("extract", text, schema=task.schema)
    if read.strict is not None:
        return Checked(output=read.strict)
    if read.lenient is None:
        return Checked(output=None, reason="not JSON")
    inside = parse("extract", read.lenient, schema=task.schema).strict
    return Checked(output=inside, reason="" if inside else "does not fit the schema")


def _shares(labels: Sequence[str], row: Sequence[float] | None, at: int | None) -> Mapping[str, float] | None:
    """Label → probability from log-probabilities; None where they speak for another label than was said."""
    if row is None or at is None or max(range(len(row)), key=row.__getitem__) != at:
        return None
    shares = {label: math.exp(logp) for label, logp in zip(labels, row, strict=True)}
    return {label: round(share, 6) for label, share in shares.items() if share >= LEAST_SHARE}


def _reversed(choices: Choices | None) -> Choices | None:
    """The same labels in the opposite order, under the same codes."""
    return choices and Choices(labels=choices.labels[::-1], codes=choices.codes)


def _refuse_other_task(task: Task, labels: Sequence[str], kind: Any, known: Any, *, what: str) -> None:
    if kind != task.kind:
        raise BundleError(
            f"'{what}' is for the kind '{kind}', and '{task.name}' is of kind '{task.kind}'.",
            fix="Choose a teacher of the same kind.",
        )
    strange = sorted(set(known or ()) ^ set(labels))
    if strange:
        raise BundleError(
            f"'{what}' and the task '{task.name}' do not have the same labels: '{strange[0]}'"
            + (f" and {len(strange) - 1} more are in one alone." if strange[1:] else " is in one alone."),
            fix="List the bundle's labels in [task] labels, or choose another teacher.",
        )
