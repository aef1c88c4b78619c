"""Label a file's rows by a teacher: asked once each, checked, and written as rows of the task.

What was paid stays in `<out>.work`: a run that was broken off, or asks for more rows, goes on from there.
Knows nothing of how a teacher answers.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from smallworks import data
from smallworks.data.shapes import PROBABILITIES, Shape
from smallworks.data.source import files_of
from smallworks.data.unlabelled import Unlabelled, read_unlabelled, unlabelled_shape
from smallworks.data.write import refuse_to_lose, writing
from smallworks.errors import UserError
from smallworks.evaluate.scores import token_f1
from smallworks.recipes.calls import Calls, End, Limits, Question
from smallworks.recipes.flagship import CHARACTERS_PER_TOKEN, price
from smallworks.recipes.journal import Journal, keeping
from smallworks.recipes.teacher import Checked, Said, Teacher, check
from smallworks.seams import Progress, silent
from smallworks.types import Example, Task

FIRST = 10
"""Rows that are asked before the cost of all is told again, from what they took."""
DISPUTED = "disputed"
ALIKE = 0.6
"""Two free texts agree when their words have this F1 (0–1); labels and documents must be equal."""
LABEL_TOKENS = 4
"""Tokens of an answer that is a label, for the estimate."""
Cells = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """What the questions still to be asked will take. `measured` says on how many answers that rests."""

    questions: int
    tokens_in: float
    tokens_out: float
    dollars: float
    measured: int = 0


@dataclass(frozen=True, kw_only=True)
class Labelling:
    """What was written and what it took. `aside` counts the rows that were set apart, by reason.

    `spent` is of every run of this file, `spent_here` of this one. `left` rows were not asked.
    """

    out: Path
    apart: Path
    teacher: str
    labelled: int
    aside: Mapping[str, int]
    skipped: int
    left: int
    disputed: int | None
    labels: Mapping[str, int]
    with_probabilities: int
    asked: int
    spent: float
    spent_here: float
    end: End


@dataclass(frozen=True, kw_only=True)
class Job:
    """One labelling: which rows, by whom, how often."""

    task: Task
    labels: tuple[str, ...]
    rows: Path
    shape: Shape
    teacher: Teacher
    twice: bool = False
    limit: int | None = None

    def wanted(self) -> Iterator[Unlabelled]:
        """The rows to ask about, in their order: those with an input and without an output."""
        found = read_unlabelled(self.task, self.rows, self.shape)
        return islice((row for row in found if row.text is not None and not row.labelled), self.limit)

    def questions(self) -> Iterator[Question]:
        for row in self.wanted():
            assert row.text is not None
            for again in (False, True) if self.twice else (False,):
                key = self.teacher.key(row.text, again=again)
                yield key, partial(self.teacher.ask, row.text, again=again)


def labels_of(task: Task) -> tuple[str, ...]:
    """The task's labels, from its training rows where it lists none; none but for `classify`."""
    if task.kind != "classify":
        return ()
    return task.labels or tuple(sorted({example.output for example in training_rows(task)}))


def training_rows(task: Task) -> tuple[Example, ...]:
    return data.read_examples(task, task.data.train)[0]


def job_of(
    task: Task, rows: Path, teacher: Teacher, labels: Sequence[str], *, twice: bool, limit: int | None
) -> Job:
    if twice and teacher.kind == "bundle":
        raise UserError(
            f"The bundle '{teacher.name}' says the same twice.", fix="Leave out --twice, or ask a server."
        )
    shape = unlabelled_shape(task, rows, output="label" if task.kind == "classify" else "output")
    return Job(
        task=task,
        labels=tuple(labels),
        rows=rows,
        shape=shape,
        teacher=teacher,
        twice=twice,
        limit=limit,
    )


def forecast(job: Job, *, known: Callable[[str], bool] = lambda key: False) -> Forecast:
    """By characters, nothing asked: each different question that is not `known` yet, answers by kind."""
    seen: set[str] = set()
    characters = 0
    for row in job.wanted():
        assert row.text is not None
        for again in (False, True) if job.twice else (False,):
            key = job.teacher.key(row.text, again=again)
            if key not in seen and not known(key):
                seen.add(key)
                characters += job.teacher.length(row.text)
    tokens_in, tokens_out = characters / CHARACTERS_PER_TOKEN, len(seen) * _answer_tokens(job.task)
    flagship = job.task.flagship
    paid = job.teacher.kind == "flagship" and flagship is not None
    return Forecast(
        questions=len(seen),
        tokens_in=tokens_in,
        tokens_out=tokens_out,
        dollars=price(flagship, tokens_in, tokens_out) if paid and flagship else 0.0,
    )


def label(
    job: Job,
    out: Path,
    *,
    limits: Limits = Limits(),  # noqa: B008
    force: bool = False,
    tell: Callable[[Forecast], None] = lambda forecast: None,
    progress: Progress = silent,
) -> Labelling:
    """Ask, check, write. `tell` hears the forecast before anything is asked, and after FIRST answers."""
    apart = out.with_name(f"{out.name}.apart.jsonl")
    refuse_to_lose([out, apart], keep=[job.rows, *files_of(job.task).values()], force=force)
    refuse_other_endings(out)
    with keeping(work_of(out), "a labelling") as journal:
        ahead = forecast(job, known=journal.__contains__)
        tell(ahead)
        calls = calls_of(job.teacher, journal, limits, ahead, progress, "label")
        end = calls.run(islice(job.questions(), FIRST))
        if end == "all asked" and calls.asked and ahead.questions > calls.asked:
            tell(measured(ahead, calls, journal))
        if end == "all asked":
            end = calls.run(job.questions())
        progress("label", ahead.questions, ahead.questions, "done")
        return _written(job, out, apart, journal, calls, end)


def calls_of(
    teacher: Teacher, journal: Journal, limits: Limits, ahead: Forecast, progress: Progress, step: str
) -> Calls:
    expected = ahead.dollars / max(1, ahead.questions)
    calls = Calls(journal=journal, limits=limits, price=teacher.price, expected=expected)
    calls.answered = lambda: progress(step, calls.asked, ahead.questions, f"${calls.spent:.4g}")
    return calls


def work_of(out: Path) -> Path:
    return out.with_name(f"{out.name}.work")


def refuse_other_endings(out: Path) -> None:
    if out.suffix.lower() not in (".jsonl", ".ndjson"):
        raise UserError(
            f"'{out}' ends with '{out.suffix}': tags and probabilities need JSONL.", fix="End it with .jsonl."
        )


def measured(ahead: Forecast, calls: Calls, journal: Journal) -> Forecast:
    """The forecast for what is left, from the answers so far."""
    said = list(journal)
    left = ahead.questions - calls.asked
    tokens_in, tokens_out = (
        left * sum(getattr(one, name) for one in said) / len(said) for name in ("tokens_in", "tokens_out")
    )
    dollars = left * sum(map(calls.price, said)) / len(said)
    return Forecast(
        questions=left, tokens_in=tokens_in, tokens_out=tokens_out, dollars=dollars, measured=len(said)
    )


def _answer_tokens(task: Task) -> float:
    """About how long an answer is: a label is short, others are as long as the training rows' outputs."""
    if task.kind == "classify":
        return LABEL_TOKENS
    outputs = [len(example.output) for example in training_rows(task)[:200]]
    return math.ceil(sum(outputs) / len(outputs) / CHARACTERS_PER_TOKEN)


@dataclass
class _Counts:
    labelled: int = 0
    skipped: int = 0
    left: int = 0
    disputed: int = 0
    with_probabilities: int = 0


def _written(job: Job, out: Path, apart: Path, journal: Journal, calls: Calls, end: End) -> Labelling:
    counts, aside, labels = _Counts(), Counter[str](), Counter[str]()
    wanted = 0
    with writing(out, ()) as write, writing(apart, ()) as lay_aside:
        for row in read_unlabelled(job.task, job.rows, job.shape):
            if row.labelled:
                counts.skipped += 1
                continue
            wanted += row.text is not None
            if row.text is None or job.limit is None or wanted <= job.limit:
                found = _judged(job, row, journal, calls.refused)
            else:
                found = None
            if found is None:
                counts.left += 1
                continue
            checked, said, agrees = found
            if checked.output is None:
                aside[checked.reason] += 1
                text = said.text if said else ""
                lay_aside({"row": row.row, "reason": checked.reason, "said": text, "cells": row.cells})
                continue
            counts.labelled += 1
            counts.disputed += not agrees
            labels[checked.output] += job.task.kind == "classify"
            counts.with_probabilities += said is not None and said.probabilities is not None
            write(_cells(job, row, checked.output, said, disputed=not agrees))
    return Labelling(
        out=out,
        apart=apart,
        teacher=job.teacher.name,
        labelled=counts.labelled,
        aside=dict(aside),
        skipped=counts.skipped,
        left=counts.left,
        disputed=counts.disputed if job.twice else None,
        labels=dict(+labels),
        with_probabilities=counts.with_probabilities,
        asked=calls.asked,
        spent=calls.spent,
        spent_here=calls.spent_here,
        end=end,
    )


def _judged(
    job: Job, row: Unlabelled, journal: Journal, refused: Mapping[str, str]
) -> tuple[Checked, Said | None, bool] | None:
    """The checked answer, the answer, whether the second pass agrees; None for a row not (wholly) asked."""
    if row.text is None:
        return Checked(output=None, reason="no input"), None, True
    key = job.teacher.key(row.text)
    if key in refused:
        return Checked(output=None, reason=f"the server refused it: {refused[key]}"), None, True
    first = journal.get(key)
    second = journal.get(job.teacher.key(row.text, again=True)) if job.twice else first
    if first is None or (second is None and job.teacher.key(row.text, again=True) not in refused):
        return None
    checked = check(job.task, job.labels, first)
    again = check(job.task, job.labels, second) if second else Checked(output=None)
    return checked, first, agree(job.task, checked.output, again.output)


def agree(task: Task, a: str | None, b: str | None) -> bool:
    """Whether two outputs say the same: equal for labels and documents, alike in their words for texts."""
    if a is None or b is None or a == b:
        return a == b
    return task.kind not in ("classify", "extract") and token_f1(a, b) >= ALIKE


def _cells(job: Job, row: Unlabelled, output: str, said: Said | None, *, disputed: bool) -> dict[str, Any]:
    """The row as it was read, with its answer, where that comes from, and what else is known of it."""
    assert said is not None, "a row with an output was answered"
    tags = provenance(job.teacher, said) + ([DISPUTED] if disputed else [])
    column = job.task.data.columns.tags or "tags"
    before = row.cells.get(column)
    kept = before if isinstance(before, list) else [before] if before else []
    cells = {**row.cells, job.shape.output: as_cell(job.task, output), column: [*kept, *tags]}
    return {**cells, PROBABILITIES: said.probabilities} if said.probabilities else cells


def provenance(teacher: Teacher, said: Said) -> list[str]:
    """Where a row comes from, as tags."""
    return [f"teacher:{teacher.kind}", f"model:{teacher.name}", f"date:{said.date}"]


def as_cell(task: Task, output: str) -> Any:
    return json.loads(output) if task.kind == "extract" else output
