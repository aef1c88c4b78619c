"""From a task, a machine and constraints to bases in order, and whether a small model is right at all.

Reads the rows for their number and length, measures this machine for a second, asks a linear model once.
"""

from __future__ import annotations

import importlib.util
import math
import random
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import psutil

from smallworks import child, data, select
from smallworks.compress.shape import ARCHITECTURES
from smallworks.data import Splits
from smallworks.engines import speed
from smallworks.errors import UserError
from smallworks.evaluate.intervals import wilson
from smallworks.seams import Progress, silent
from smallworks.select import Machine, Needs, Ranking, Use
from smallworks.starter import TASKS
from smallworks.types import Estimate, Example, Task

PROMPT_TOKENS = 60
"""Instruction and template around a text, about."""
LETTERS = 3.0
"""Letters a token, about; fewer where the language is not the tokenizer's own."""
FEWEST = 20
MOST = 2000
"""Rows that the linear model is asked on: enough to tell, few enough for seconds."""
STEP = 128
"""Contexts are rounded up to so many tokens."""


@dataclass(frozen=True, kw_only=True)
class Wishes:
    """What a user asks beside the task; see `select.Needs` for the units."""

    use: tuple[Use, ...] = ()
    languages: tuple[str, ...] = ()
    context: int | None = None
    latency_ms: float | None = None
    private: bool = False
    volume: float | None = None
    budget: float | None = None
    catalogue: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Recommendation:
    """`remarks` are what a reader has to know of the figures; `next` the command to run."""

    needs: Needs
    machine: Machine
    ranking: Ranking
    models: int
    remarks: tuple[str, ...]
    next: str


def recommend(
    task: Task, wishes: Wishes, *, machine: Machine | None = None, progress: Progress = silent
) -> Recommendation:
    """`machine` None: this one, which is measured. Raises UserError for wishes that cannot be meant."""
    _check(wishes)
    files = [task.folder / select.OWN] if (task.folder / select.OWN).is_file() else []
    catalogue = select.load(*files, *([wishes.catalogue] if wishes.catalogue else []))
    known = {code for entry in catalogue.entries for code in entry.languages} | {"code"}
    for code in wishes.languages:
        if code not in known:
            raise UserError(
                f"--languages: no model of the catalogue names '{code}'.",
                fix='Write two-letter codes, such as --languages en,de; "code" for program text.',
            )
    progress("data", 0, 0, "reading and checking")
    splits = data.load(task, progress)
    progress("data", 1, 1, "done")
    needs = replace(needs_of(task, splits, wishes), linear=_linear(task, splits, progress))
    remarks: list[str] = []
    if machine is None:
        machine = _here(progress, remarks)
    elif machine.note:
        remarks.append(machine.note)
    ranking = select.rank(needs, machine, catalogue, convertible=tuple(ARCHITECTURES))
    return Recommendation(
        needs=needs,
        machine=machine,
        ranking=ranking,
        models=len(catalogue.entries),
        remarks=tuple(remarks),
        next=_next(task, ranking),
    )


def _check(wishes: Wishes) -> None:
    amounts = {
        "--context": wishes.context,
        "--latency": wishes.latency_ms,
        "--volume": wishes.volume,
        "--budget": wishes.budget,
    }
    for option, value in amounts.items():
        if value is not None and not 0 < value < math.inf:
            raise UserError(f"{option} {value:g} is not an amount above 0.", fix=f"Leave {option} out.")


def needs_of(task: Task, splits: Splits, wishes: Wishes) -> Needs:
    """What the task's rows and targets ask; tokens are told from letters: no tokenizer is chosen yet."""
    read = sorted(_tokens(row.text) for row in splits.train)
    written = [_tokens(row.output) for row in splits.train]
    tokens_in = PROMPT_TOKENS + sum(read) / len(read)
    said = sum(written) / len(written)
    # A label is scored in the prompt's own pass: nothing is written.
    tokens_out = 0.0 if task.kind == "classify" else said
    longest = (
        PROMPT_TOKENS + read[int(0.99 * (len(read) - 1))] + (0 if task.kind == "classify" else max(written))
    )
    flagship, price = task.flagship, None
    if flagship:
        price = (tokens_in * flagship.input_price + said * flagship.output_price) / 1e6
    return Needs(
        kind=task.kind,
        rows=len(splits.train),
        labels=len(splits.labels),
        tokens_in=tokens_in,
        tokens_out=tokens_out,
        longest=wishes.context or STEP * math.ceil(longest / STEP),
        target=task.targets.at_least if task.targets.metric == "accuracy" else None,
        use=wishes.use,
        languages=wishes.languages,
        latency_ms=wishes.latency_ms or task.targets.p95_ms,
        private=wishes.private,
        volume=wishes.volume,
        budget=wishes.budget,
        flagship=price,
        hour=task.build.machine_price_per_hour,
    )


def _tokens(text: str) -> float:
    return len(text) / LETTERS


def _linear(task: Task, splits: Splits, progress: Progress) -> Estimate | None:
    """What a linear model gets right of training rows that it did not see; None where it cannot be asked."""
    if task.kind != "classify" or len(splits.train) < FEWEST or len({r.output for r in splits.train}) < 2:
        return None
    if importlib.util.find_spec("sklearn") is None:
        return None
    rows = _some(splits.train, task.build.seed)
    asked = {
        "texts": [row.text for row in rows],
        "targets": [row.output for row in rows],
        "labels": list(splits.labels),
        "seed": task.build.seed,
    }
    progress("linear", 0, 0, f"a linear model on {len(rows):,} rows")
    said = child.run("smallworks.tune.quick", asked, progress=progress)
    progress("linear", 1, 1, "done")
    return wilson(said["hits"], said["rows"]) if said["rows"] else None


def _some(rows: Sequence[Example], seed: int) -> Sequence[Example]:
    return rows if len(rows) <= MOST else random.Random(seed).sample(list(rows), MOST)


def _here(progress: Progress, remarks: list[str]) -> Machine:
    """This machine as it is now: its free memory, and its speed over a second."""
    busy = psutil.getloadavg()[0] / (psutil.cpu_count() or 1)
    progress("speed", 0, 0, "copying memory, multiplying matrices")
    found = select.here(psutil.virtual_memory().available, speed.measure())
    progress("speed", 1, 1, "done")
    if busy > 0.5:
        remarks.append(
            f"this machine is busy (load {busy:.1f} a core): times are those of what is left of it now"
        )
    remarks.append("times are estimates for the CPU; no GPU is used")
    return found


def _next(task: Task, ranking: Ranking) -> str:
    """The command that tries what was advised."""
    route, name = ranking.advice.route, _named(task)
    encoder = f" --embedder {ranking.encoders[0].entry.ref}" if ranking.encoders else ""
    if route == "flagship":
        return f"smallworks data check {name}"
    if route == "linear":
        return f"smallworks build {name} --only majority,linear"
    if route == "encoder" and encoder:
        return f"smallworks build {name} --only majority,linear,fused{encoder}"
    if ranking.bases:
        base = f"smallworks build {name} --base {ranking.bases[0].entry.ref}"
        return base + encoder if task.kind == "classify" else base
    return f"smallworks build {name}"


def _named(task: Task) -> str:
    """What a command calls the task: a sample task by its name, never by the package's own folder."""
    sample = next((name for name, folder in TASKS.items() if folder == task.folder), None)
    return sample or shlex.quote(str(task.folder))
