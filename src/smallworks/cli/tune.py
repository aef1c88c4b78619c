"""`smallworks tune`: tune and freeze one language model candidate, after showing what it will learn from."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from rich.table import Table
from rich.text import Text

import smallworks as sw
from smallworks.cli import talk
from smallworks.errors import UserError
from smallworks.seams import Progress
from smallworks.types import Task

if TYPE_CHECKING:
    from smallworks.bundle import Bundle
    from smallworks.recipes.sweep import Trial
    from smallworks.recipes.tune import Preview, Segment
    from smallworks.recipes.tuning import Tuned
    from smallworks.recipes.workshop import Workshop

UNITS = {"s": 1, "m": 60, "h": 3600}
SHOWN = 300
"""Characters of a prompt that are shown: its beginning and its end."""


def tune(  # the parameters are the command's options
    task: str,
    /,
    *,
    method: Literal["lora", "rslora", "dora", "qlora", "qlora-int8", "full"] = "lora",
    epochs: float | None = None,
    rank: int | None = None,
    learning_rate: float | None = None,
    precision: Literal["float32", "bfloat16"] | None = None,
    gradient_checkpointing: bool | None = None,
    processes: int = 1,
    tensorboard: Path | None = None,
    budget: str | None = None,
    sweep: int | None = None,
    base: str | None = None,
    out: Path | None = None,
    dry_run: bool = False,
    json: bool = False,
) -> None:
    """Tune and freeze one language model candidate, after showing what it will learn from and take.

    Running it again goes on where it was interrupted; a build with the same settings finds it done.

    Parameters
    ----------
    task
        The task's folder or task.toml.
    method
        lora, rslora, dora (an adapter), qlora, qlora-int8 (on a base of 4 or 8 bits) or full (all weights).
    epochs
        Most passes over the training rows (default: the task's, else 3 to 10 by their number).
    rank
        Rank of the adapter (default: 16).
    learning_rate
        Default: from the method and the width of the base.
    precision
        What matrix products are computed in (default: bfloat16 where the machine is faster with it).
    gradient_checkpointing
        Less memory, a third more time, the same weights (default: where it would not fit without).
    processes
        Share every batch between so many processes, on a GPU each where there are GPUs.
    tensorboard
        Write losses, learning rate and tokens/s below this folder as they come, for TensorBoard.
    budget
        Time for the tuning, such as 10m: as many epochs as end within it, at most 10.
    sweep
        Search learning rate and rank, where not given, in so many tunings, judged on the validation rows.
    base
        Base language model: a folder or a hub id (default: the task's, else the embedded starter).
    out
        Where the bundle goes (default: the task's folder).
    dry_run
        Show what it will learn from and take, and stop.
    json
        One JSON document on stdout.
    """
    from smallworks.recipes import sweep as trial
    from smallworks.recipes import tune as recipe
    from smallworks.recipes.tuning import Dials

    loaded = sw.load_task(task)
    seconds = _seconds(budget, epochs)
    dials = Dials(
        method=method,
        epochs=epochs,
        rank=rank,
        learning_rate=learning_rate,
        precision=precision,
        gradient_checkpointing=gradient_checkpointing,
        processes=processes,
        tensorboard=tensorboard,
    )
    if epochs is None and seconds is None:
        dials = replace(dials, epochs=loaded.build.epochs)
    if sweep is not None:
        trial.check(dials, sweep)

    def workshop(progress: Progress) -> AbstractContextManager[Workshop]:
        return recipe.workshop(loaded, dials, base=base, out=out, progress=progress)

    made = None
    trials: tuple[Trial, ...] = ()
    with talk.progress() as progress, workshop(progress) as shop:
        seen, dials = recipe.preview(shop, dials, budget=seconds)
    if not json:
        show(loaded, seen, sweep or 1)
    if not dry_run:
        with talk.progress() as progress, workshop(progress) as shop:
            if sweep:
                trials, dials = trial.sweep(shop, dials, sweep)
            made = recipe.tune(shop, dials)
    if json:
        talk.print_json({**_document(seen, made), "trials": [asdict(each) for each in trials]})
    elif made:
        _tabulate(trials)
        _conclude(*made)


def show(task: Task, seen: Preview, trials: int = 1) -> None:
    """The rows with what is supervised in colour, and what the tuning (or each of the `trials`) will take."""
    rank = f", rank {seen.rank}" if seen.rank else ""
    talk.say(
        f"{task.name}: {seen.candidate} ({seen.method}{rank}) on {seen.base}, "
        f"{seen.parameters / 1e6:,.1f} million parameters",
        style="bold",
    )
    for row in seen.rows:
        talk.out.print(_coloured(row), soft_wrap=True)
    share = seen.too_long / (seen.train + seen.too_long)
    lines = {
        "in the loss": f"{seen.supervised_per_row:.1f} of {seen.tokens_per_row:.1f} tokens a row (coloured); "
        f"every answer ends on {seen.stop}, which is learned",
        "rows": f"{seen.train:,} to train on, {seen.validation:,} to validate on; "
        f"{seen.too_long:,} too long and left out ({share:.1%})",
        "plan": f"at most {seen.epochs:g} epochs, {seen.steps:,} steps of {seen.batch_size} rows, "
        f"learning rate {seen.learning_rate:.1e}, matrix products in {seen.precision}"
        + (f", shared by {seen.processes} processes" if seen.processes > 1 else ""),
        "memory": f"{seen.memory.total / 1e9:.2f} GB of {seen.free_bytes / 1e9:.2f} GB free ({seen.memory}); "
        f"gradient checkpointing {'on' if seen.gradient_checkpointing else 'off'}",
        "time": f"about {_duration(seen.seconds)}{f', {trials} times at most' if trials > 1 else ''}, "
        f"at {seen.tokens_per_second:,.0f} tokens/s over ten steps",
    }
    for name, line in lines.items():
        talk.say(f"{name:<12} {line}")


def _coloured(row: tuple[Segment, ...]) -> Text:
    text = Text("  ")
    for segment in row:
        line = segment.text.replace("\n", "↵")
        if segment.supervised:
            text.append(line, style="bold green")
        else:
            cut = len(line) > SHOWN
            text.append(f"{line[: SHOWN // 2]} … {line[-SHOWN // 2 :]}" if cut else line, style="dim")
    return text


def _tabulate(trials: Sequence[Trial]) -> None:
    """The trials of a sweep, the best first, pruned ones last."""
    if not trials:
        return
    table = Table("trial", "learning rate", "rank", "validation loss", "steps", "time", "", box=None)
    for each in sorted(trials, key=lambda each: (each.state == "pruned", each.loss or 0.0)):
        rank = str(each.rank) if each.rank else "–"
        loss = "–" if each.loss is None else f"{each.loss:.3f}"
        rate = f"{each.learning_rate:.1e}" if each.learning_rate else "–"
        pruned = "pruned" if each.state == "pruned" else ""
        taken = _duration(each.seconds)
        table.add_row(str(each.number), rate, rank, loss, f"{each.steps:,}", taken, pruned)
    talk.out.print()
    talk.out.print(table)


def _conclude(bundle: Bundle, made: Tuned) -> None:
    loss = f", best validation loss {made.best_val_loss:.3f}" if made.best_val_loss is not None else ""
    talk.say(f"\ntuned   {made.steps:,} steps in {_duration(made.seconds)}{loss}")
    talk.say(f"forgot  {made.forgetting}")
    talk.say(f"bundle  {bundle.path}")
    talk.remark(f"[dim]next    smallworks evaluate {bundle.path}[/dim]")


def _document(seen: Preview, made: tuple[Bundle, Tuned] | None) -> dict[str, object]:
    document = {**asdict(seen), "memory": {**asdict(seen.memory), "total": seen.memory.total}}
    if made is None:
        return {**document, "bundle": None, "tuned": None}
    bundle, weights = made
    return {**document, "bundle": bundle.path, "tuned": asdict(weights)}


def _seconds(budget: str | None, epochs: float | None) -> float | None:
    """'90s', '10m' or '1.5h' as seconds."""
    if budget is None:
        return None
    if epochs is not None:
        raise UserError(f"--budget {budget} and --epochs {epochs:g} both set the epochs.", fix="Give one.")
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", budget)
    if not found or not float(found[1]):
        raise UserError(f"--budget '{budget}' is not a time.", fix="Write 90s, 10m or 1.5h.")
    return float(found[1]) * UNITS[found[2]]


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
