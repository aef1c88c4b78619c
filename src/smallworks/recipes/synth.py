"""New rows from a teacher: written after a few of the task's own, sifted with a count for each reason.

Requests are numbered, and the seed draws what each shows: a run that was broken off finds the answers that it
has paid for. A row stays when a second pass, the task itself on its text, gives the same output. Knows not
how rows are read for training.
"""

from __future__ import annotations

import json
import math
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from smallworks import data, files
from smallworks.data.shapes import PROBABILITIES, Shape
from smallworks.data.sift import distinct, sift
from smallworks.data.source import files_of, name_in, shape_of
from smallworks.data.write import refuse_to_lose, writing
from smallworks.errors import RequestError
from smallworks.evaluate.parse import parse
from smallworks.recipes.calls import Calls, Limits, Question
from smallworks.recipes.flagship import CHARACTERS_PER_TOKEN, price
from smallworks.recipes.journal import Journal, keeping
from smallworks.recipes.label import (
    Forecast,
    agree,
    as_cell,
    measured,
    provenance,
    refuse_other_endings,
    work_of,
)
from smallworks.recipes.teacher import TEXT_TOKENS, Said, Teacher, check
from smallworks.seams import Progress, silent
from smallworks.types import Example, ExampleId, Message, Sampling, Task

A_REQUEST = 5
"""Rows asked for at once: fewer repeat the instruction more often, more grow alike within an answer."""
SHOWN = 3
"""Training rows shown with each request: of the label that is asked for, and as many of others."""
LONGEST_SHOWN = 1_000
"""Characters of a shown input; the rest is cut."""
MOST = 4
"""At most so many times the requests that would do if every row stayed."""
TAG = "synthetic"
OUTPUT = "output"
DISAGREES = "the second pass says otherwise"
UNASKED = "not asked a second time"
LIKENESS = ("repeats a training row", "repeats a new row", "like a training row", "like a new row")


@dataclass(frozen=True, kw_only=True)
class Draft:
    """A row as the teacher wrote it, or what came instead; `said` is the answer that it stood in."""

    inputs: Mapping[str, str]
    output: str
    said: Said
    problem: str = ""

    @property
    def text(self) -> str:
        return as_example(self).text


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A draft and why it is set apart ('' : it stays). `twin` is the text it is like."""

    draft: Draft
    reason: str = ""
    twin: str = ""
    again: Said | None = None


@dataclass(frozen=True, kw_only=True)
class Variety:
    """Distinct 1-, 2- and 3-grams of the new rows, and of as many training rows, for comparison."""

    rows: int
    new: tuple[float, ...]
    training: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Synthesis:
    """What was written and what it took. `reasons` counts the rows set apart, `near` is the share of all
    written ones that were too much like others, `agreement` that of the second pass. `end` is "all asked",
    "budget", or says what else ended the asking.
    """

    out: Path
    apart: Path
    teacher: str
    kept: int
    wanted: int
    written: int
    reasons: Mapping[str, int]
    near: float
    agreement: float | None
    labels: Mapping[str, int]
    variety: Variety
    asked: int
    spent: float
    spent_here: float
    end: str


@dataclass(frozen=True, kw_only=True)
class Bench:
    """What every request is made from: the task, its rows as a build splits them, how they are written."""

    task: Task
    splits: data.Splits
    shape: Shape
    teacher: Teacher
    count: int

    @property
    def fields(self) -> tuple[str, ...]:
        return tuple(self.splits.train[0].inputs)

    @property
    def labels(self) -> tuple[str, ...]:
        return self.splits.labels


def bench_of(task: Task, splits: data.Splits, teacher: Teacher, *, count: int) -> Bench:
    shape, _ = shape_of(task.data.train, task.data.columns, name_in(task, task.data.train))
    return Bench(task=task, splits=splits, shape=shape, teacher=teacher, count=count)


def forecast(bench: Bench) -> Forecast:
    """By characters, as if every row stayed: requests, and a second pass over each row."""
    requests = math.ceil(bench.count / A_REQUEST)
    train = bench.splits.train[:200]
    row = sum(len(e.text) + len(e.output) for e in train) / len(train)
    request = sum(len(m.content) for m in asking(bench, 0))
    asked = bench.count * sum(bench.teacher.length(e.text) for e in train) / len(train)
    tokens_in = (requests * request + asked) / CHARACTERS_PER_TOKEN
    tokens_out = 2 * bench.count * row / CHARACTERS_PER_TOKEN
    flagship = bench.task.flagship if bench.teacher.kind == "flagship" else None
    return Forecast(
        questions=requests + bench.count,
        tokens_in=tokens_in,
        tokens_out=tokens_out,
        dollars=price(flagship, tokens_in, tokens_out) if flagship else 0.0,
    )


def synth(
    bench: Bench,
    out: Path,
    *,
    limits: Limits = Limits(),  # noqa: B008
    force: bool = False,
    tell: Callable[[Forecast], None] = lambda forecast: None,
    progress: Progress = silent,
) -> Synthesis:
    """Ask until `count` rows stay, too many requests were made (MOST), or the budget is spent."""
    apart = out.with_name(f"{out.name}.apart.jsonl")
    refuse_to_lose([out, apart], keep=list(files_of(bench.task).values()), force=force)
    refuse_other_endings(out)
    with keeping(work_of(out), "writing rows") as journal:
        ahead = forecast(bench)
        tell(ahead)
        calls = Calls(
            journal=journal,
            limits=limits,
            price=bench.teacher.price,
            expected=ahead.dollars / ahead.questions,
        )
        judged, end = _rounds(bench, calls, ahead, tell, progress)
        if not judged and calls.refused:
            raise RequestError(next(iter(calls.refused.values())), fix="Choose a teacher that writes text.")
        progress("synth", bench.count, bench.count, "done")
        return _written(bench, judged, calls, end, out, apart)


def _rounds(
    bench: Bench, calls: Calls, ahead: Forecast, tell: Callable[[Forecast], None], progress: Progress
) -> tuple[list[Judged], str]:
    """Every row so far, judged, and what ended the asking. Each round asks for what the last yield lacks."""
    most = MOST * math.ceil(bench.count / A_REQUEST)
    requests, judged, told = 0, list[Judged](), False
    while True:
        kept = sum(not one.reason for one in judged)
        if kept >= bench.count:
            return judged, "all asked"
        if requests >= most:
            return judged, f"{most} requests gave no more"
        progress("synth", kept, bench.count, f"{kept} rows, ${calls.spent:.4g}")
        share = kept / len(judged) if judged else 1.0
        more = math.ceil((bench.count - kept) / (A_REQUEST * max(share, 1 / MOST)))
        requests = min(most, requests + (more if requests else min(more, 2)))
        end: str = calls.run(_requests(bench, requests))
        judged = _sifted(bench, list(_drafts(bench, calls.journal, requests)))
        if end == "all asked":
            end = calls.run(_second_pass(bench, judged))
        judged = [_agreed(bench, calls.journal, one) for one in judged]
        if end != "all asked":
            return judged, end
        left = _left(bench, judged, len(list(calls.journal)))
        if calls.asked and not told and left:
            tell(measured(replace(ahead, questions=calls.asked + left), calls, calls.journal))
            told = True


def _left(bench: Bench, judged: Sequence[Judged], answered: int) -> int:
    """About how many questions are still to come, if rows go on to stay as often as they did."""
    kept = sum(not one.reason for one in judged)
    most = MOST * math.ceil(bench.count / A_REQUEST) * (1 + A_REQUEST)
    missing = max(0, bench.count - kept)
    return max(0, min(most - answered, math.ceil(missing * answered / max(1, kept))))


def asking(bench: Bench, number: int) -> tuple[Message, ...]:
    """The request with this number: its label and the rows it shows are drawn by the task's seed."""
    draw = random.Random(files.hash_value([bench.task.build.seed, number]))
    label = bench.labels[number % len(bench.labels)] if bench.labels else None
    own = [e for e in bench.splits.train if label is None or e.output == label]
    other = [e for e in bench.splits.train if label is not None and e.output != label]
    shown = draw.sample(own, min(SHOWN, len(own))) + draw.sample(other, min(SHOWN, len(other)))
    draw.shuffle(shown)
    fields = (*bench.fields, *(() if label else (OUTPUT,)))
    form = json.dumps([dict.fromkeys(fields, "…")], ensure_ascii=False)
    wanted = f"{A_REQUEST} new inputs whose right answer is '{label}'" if label else f"{A_REQUEST} new rows"
    parts = [
        f"The task: {bench.task.instruction}",
        f"Its labels: {', '.join(bench.labels)}." if label else "",
        f"The output is JSON by this schema: {json.dumps(bench.task.schema)}" if bench.task.schema else "",
        "Rows of it:\n" + "\n".join(_shown(e) for e in shown),
        f"Write {wanted}. Make each differ from the rows above and from the others in subject, wording, tone "
        f"and length, as if another person had written it. Answer with JSON alone, in this form: {form}",
    ]
    system = "You write realistic data for training a small model."
    return (
        Message(role="system", content=system),
        Message(role="user", content="\n\n".join(filter(None, parts))),
    )


def _shown(example: Example) -> str:
    inputs = {name: text[:LONGEST_SHOWN] for name, text in example.inputs.items()}
    return json.dumps({**inputs, OUTPUT: example.output[:LONGEST_SHOWN]}, ensure_ascii=False)


def _requests(bench: Bench, count: int) -> Iterator[Question]:
    for number in range(count):
        sampling = Sampling(max_tokens=TEXT_TOKENS, temperature=1.0, seed=number)
        yield _key(bench, number), partial(bench.teacher.write, asking(bench, number), sampling)


def _key(bench: Bench, number: int) -> str:
    return files.hash_value([bench.teacher.identity, number, [m.content for m in asking(bench, number)]])


def _drafts(bench: Bench, journal: Journal, requests: int) -> Iterator[Draft]:
    """Every row of every answer, in the order of the requests."""
    for number in range(requests):
        said = journal.get(_key(bench, number))
        if said is None:
            continue
        rows = _listed(said.text)
        if rows is None:
            problem = "cut off by the token limit" if said.cut else "not a JSON list of rows"
            yield Draft(inputs={}, output="", said=said, problem=problem)
            continue
        label = bench.labels[number % len(bench.labels)] if bench.labels else None
        for row in rows:
            yield _draft(bench, row, label, said)


def _listed(text: str) -> list[Any] | None:
    """The first JSON list in an answer."""
    found = parse("extract", text, schema={"type": "array"}).lenient
    value = json.loads(found) if found else None
    return value if isinstance(value, list) else None


def _draft(bench: Bench, row: Any, label: str | None, said: Said) -> Draft:
    """One row of an answer; one field may come as a bare text. Checked as an answer to the task would be."""
    cells = {bench.fields[0]: row} if isinstance(row, str) and len(bench.fields) == 1 else row
    if not isinstance(cells, dict):
        return Draft(inputs={}, output="", said=said, problem="not an object with the task's fields")
    inputs = {name: str(cells.get(name) or "").strip() for name in bench.fields}
    missing = [name for name, text in inputs.items() if not text]
    output = label if label is not None else cells.get(OUTPUT)
    text = output if isinstance(output, str) else json.dumps(output, ensure_ascii=False) if output else ""
    if missing:
        return Draft(inputs=inputs, output=text, said=said, problem=f"no '{missing[0]}'")
    checked = check(bench.task, bench.labels, Said(text=text, tokens_in=0, tokens_out=0))
    problem = f"output: {checked.reason}" if checked.reason else ""
    return Draft(inputs=inputs, output=checked.output or text, said=said, problem=problem)


def _sifted(bench: Bench, drafts: Sequence[Draft]) -> list[Judged]:
    valid = [draft for draft in drafts if not draft.problem]
    splits = bench.splits
    found = sift(
        [draft.text for draft in valid],
        held_out=[e.text for e in (*splits.test, *splits.validation)],
        known=[e.text for e in splits.train],
    )
    told = iter(found)
    judged = []
    for draft in drafts:
        gone = None if draft.problem else next(told)
        reason = draft.problem or (gone.reason if gone else "")
        judged.append(Judged(draft=draft, reason=reason, twin=gone.twin if gone else ""))
    return judged


def _second_pass(bench: Bench, judged: Sequence[Judged]) -> Iterator[Question]:
    for one in judged:
        if not one.reason:
            yield bench.teacher.key(one.draft.text), partial(bench.teacher.ask, one.draft.text)


def _agreed(bench: Bench, journal: Journal, one: Judged) -> Judged:
    if one.reason:
        return one
    again = journal.get(bench.teacher.key(one.draft.text))
    if again is None:
        return replace(one, reason=UNASKED)
    output = check(bench.task, bench.labels, again).output
    held = agree(bench.task, one.draft.output, output)
    return replace(one, again=again, reason="" if held else DISAGREES)


def _written(
    bench: Bench,
    judged: Sequence[Judged],
    calls: Calls,
    end: str,
    out: Path,
    apart: Path,
) -> Synthesis:
    kept = [one for one in judged if not one.reason]
    with writing(out, ()) as write, writing(apart, ()) as lay_aside:
        for one in kept:
            write(_cells(bench, one))
        for one in judged:
            if one.reason:
                row = (
                    {**one.draft.inputs, OUTPUT: one.draft.output}
                    if one.draft.inputs
                    else one.draft.said.text
                )
                second = {"second_pass": one.again.text} if one.again else {}
                twin = {"twin": one.twin} if one.twin else {}
                lay_aside({"reason": one.reason, **twin, **second, "row": row})
    reasons = Counter(one.reason for one in judged if one.reason)
    disputed = reasons[DISAGREES]
    alike = sum(count for reason, count in reasons.items() if reason in LIKENESS)
    return Synthesis(
        out=out,
        apart=apart,
        teacher=bench.teacher.name,
        kept=len(kept),
        wanted=bench.count,
        written=len(judged),
        reasons=dict(reasons),
        near=alike / len(judged) if judged else 0.0,
        agreement=len(kept) / (len(kept) + disputed) if kept or disputed else None,
        labels=dict(Counter(one.draft.output for one in kept)) if bench.labels else {},
        variety=_variety(bench, [one.draft.text for one in kept]),
        asked=calls.asked,
        spent=calls.spent,
        spent_here=calls.spent_here,
        end=end,
    )


def _variety(bench: Bench, texts: Sequence[str]) -> Variety:
    """Of equally many new and training rows: the share falls as rows are added."""
    train = [example.text for example in bench.splits.train]
    random.Random(bench.task.build.seed).shuffle(train)
    rows = min(len(texts), len(train))
    new, training = (tuple(distinct(some[:rows], n) for n in (1, 2, 3)) for some in (texts, train))
    return Variety(rows=rows, new=new, training=training)


def _cells(bench: Bench, one: Judged) -> dict[str, Any]:
    """The row in the columns of the task's own training file, with where it comes from."""
    draft, shape = one.draft, bench.shape
    tags = bench.task.data.columns.tags or "tags"
    cells: dict[str, Any] = {tags: [TAG, *provenance(bench.teacher, draft.said)]}
    if one.again and one.again.probabilities:
        cells[PROBABILITIES] = one.again.probabilities
    if shape.messages:
        turns = (("user", draft.text), ("assistant", draft.output))
        return {"messages": [{"role": role, "content": text} for role, text in turns], **cells}
    columns = shape.inputs if len(draft.inputs) > 1 else shape.inputs[-1:]
    inputs = dict(zip(columns, draft.inputs.values(), strict=True))
    return {**inputs, shape.output: as_cell(bench.task, draft.output), **cells}


def as_example(draft: Draft) -> Example:
    return Example(id=ExampleId(""), inputs=draft.inputs, output=draft.output)
