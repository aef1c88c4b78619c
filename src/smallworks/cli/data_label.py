"""What `smallworks data label` asks for and shows: the cost before and after, and what became of the rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smallworks import taskfile
from smallworks.cli import talk
from smallworks.errors import UserError

if TYPE_CHECKING:
    from smallworks.recipes.calls import Limits
    from smallworks.recipes.label import Forecast, Labelling


@dataclass(frozen=True, kw_only=True)
class Asking:
    """How a teacher is asked, as the command line says it.

    Parameters
    ----------
    teacher
        label, synth: a bundle that answers instead of the task's flagship.
    twice
        label: ask each row a second time, a little differently, and tag those whose answers disagree.
    limit
        label: only the first so many rows without an output.
    count
        synth: how many new rows should stay (default 200).
    budget
        label, synth: most US dollars to spend, earlier runs for the same file included.
    at_once
        label, synth: requests under way at the same time (default 8).
    per_minute
        label, synth: most requests a minute.
    dry_run
        label, synth: say about what it would take, and ask nothing.
    """

    teacher: Path | None = None
    twice: bool = False
    limit: int | None = None
    count: int | None = None
    budget: float | None = None
    at_once: int | None = None
    per_minute: float | None = None
    dry_run: bool = False

    def given(self) -> dict[str, object]:
        """The options that were used; a 0 is one of them."""
        options = {f"--{f.name.replace('_', '-')}": getattr(self, f.name) for f in fields(self)}
        return {name: value is not None and value is not False for name, value in options.items()}


def label(
    source: Path, rows: Path | None, out: Path | None, asking: Asking, *, force: bool, json: bool
) -> None:
    from smallworks.recipes import label as recipe
    from smallworks.recipes.teacher import open_teacher

    task, limits = taskfile.load_task(source), limits_of(asking)
    if rows is None:
        raise UserError(
            f"'data label' was not told which rows to label for '{task.name}'.",
            fix=f"Name their file: smallworks data label {source} rows.jsonl --out labelled.jsonl",
        )
    target = target_of("label", rows.name, out, asking)
    labels = recipe.labels_of(task)
    teacher = open_teacher(task, labels, asking.teacher)
    with closing(teacher):
        job = recipe.job_of(task, rows, teacher, labels, twice=asking.twice, limit=asking.limit)
        if target is None:
            show_dry_run(recipe.forecast(job), free=teacher.kind == "bundle", json=json)
            return
        with talk.progress() as progress:
            done = recipe.label(
                job, target, limits=limits, force=force, tell=teller(teacher.kind), progress=progress
            )
    _show(done, json)


def target_of(action: str, what: str, out: Path | None, asking: Asking) -> Path | None:
    """The file to write; None for a dry run."""
    if asking.dry_run:
        return None
    if out is None:
        fix = (
            "Name a file: --out labelled.jsonl" if action == "label" else "Name a file: --out synthetic.jsonl"
        )
        raise UserError(f"'data {action}' was not told where to write the rows for '{what}'.", fix=fix)
    return out


def limits_of(asking: Asking) -> Limits:
    from smallworks.recipes.calls import AT_ONCE, Limits

    numbers: Mapping[str, float | None] = {
        "--at-once": asking.at_once,
        "--per-minute": asking.per_minute,
        "--limit": asking.limit,
        "--count": asking.count,
        "--budget": asking.budget,
    }
    for option, number in numbers.items():
        if number is not None and not number > 0:
            raise UserError(f"{option} {number:g} is not above 0.", fix=f"Give {option} a positive number.")
    return Limits(at_once=asking.at_once or AT_ONCE, per_minute=asking.per_minute, budget=asking.budget)


def teller(kind: str) -> Callable[[Forecast], None]:
    """Says each forecast as it comes; a bundle costs no money."""
    return lambda forecast: talk.remark(_sentence(forecast, free=kind == "bundle"))


def show_dry_run(forecast: Forecast, *, free: bool, json: bool) -> None:
    if json:
        talk.print_json(asdict(forecast))
    else:
        talk.say(_sentence(forecast, free=free))


def _sentence(forecast: Forecast, *, free: bool) -> str:
    basis = f"from {forecast.measured} answers" if forecast.measured else "by characters"
    tokens = f"{forecast.tokens_in:,.0f} tokens in, {forecast.tokens_out:,.0f} out"
    cost = "" if free else f", about ${forecast.dollars:,.4g}"
    return f"to ask: {forecast.questions:,} questions, {tokens}{cost} ({basis})"


def _show(done: Labelling, json: bool) -> None:
    if json:
        talk.print_json(asdict(done))
        return
    talk.say(f"labelled {done.labelled:,} rows  {done.out}")
    if done.labels:
        talk.say("labels: " + ", ".join(f"{name} {count:,}" for name, count in ordered(done.labels)))
    if done.with_probabilities:
        talk.say(f"probabilities: {done.with_probabilities:,} rows")
    if done.aside:
        why = ", ".join(f"{count:,} {reason}" for reason, count in ordered(done.aside))
        talk.say(f"set apart: {why}  {done.apart}")
    if done.disputed is not None and done.labelled:
        share = done.disputed / done.labelled
        talk.say(f"second pass: {done.disputed:,} rows disputed ({share:.1%}), tagged 'disputed'")
    if done.skipped:
        talk.say(f"left out: {done.skipped:,} rows that have an output already")
    if done.left:
        why = "the budget is spent" if done.end == "budget" else "beyond --limit"
        talk.say(
            f"not asked: {done.left:,} rows ({why}); the same command with more and --force goes on from here"
        )
    talk.say(spent(done.asked, done.spent_here, done.spent))


def spent(asked: int, here: float, whole: float) -> str:
    return f"asked {asked:,} questions, spent ${here:.4g} (${whole:.4g} in all)"


def ordered(counts: Mapping[str, int]) -> list[tuple[str, Any]]:
    """The most frequent first."""
    return sorted(counts.items(), key=lambda pair: -pair[1])
