"""Tune one candidate alone: first what it will teach and take, then the tuning, frozen. Knows no table."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any

import psutil

from smallworks import files, settings
from smallworks import tune as stage
from smallworks.bundle import Bundle
from smallworks.engines import shape
from smallworks.engines.footprint import Memory
from smallworks.errors import UserError
from smallworks.prompt import TextTokenizer, TrainingRow
from smallworks.recipes.build import WORK, Options, prepare, survey
from smallworks.recipes.language import make_reference
from smallworks.recipes.plan import reasons
from smallworks.recipes.tuning import Dials, Tunable, Tuned, reads_of, request_of, tuned
from smallworks.recipes.workshop import Workshop
from smallworks.seams import Progress, silent
from smallworks.tune.estimate import checkpointed, memory, seconds
from smallworks.tune.options import (
    MOST_EPOCHS,
    Method,
    Precision,
    Rehearsal,
    TuneRequest,
    learning_rate,
)
from smallworks.tune.preflight import preflight
from smallworks.tune.run import check_board
from smallworks.types import Task

SHOWN_ROWS = 3
CANDIDATES: dict[Method, Tunable] = {
    "lora": "lm-lora",
    "rslora": "lm-lora",
    "dora": "lm-lora",
    "qlora": "lm-lora",
    "qlora-int8": "lm-lora",
    "full": "lm-full",
}
"""The candidate that each method makes."""


@dataclass(frozen=True, kw_only=True)
class Segment:
    """A piece of a training row as text; `supervised` pieces are what the model learns to say."""

    text: str
    supervised: bool


@dataclass(frozen=True, kw_only=True)
class Preview:
    """What a tuning will teach and take. `seconds` is that of the tuning alone, freezing not counted.

    `too_long` counts training rows left out; `stop` is the token that ends every answer, in the loss.
    """

    candidate: Tunable
    method: Method
    rank: int | None
    base: str
    parameters: int
    rows: tuple[tuple[Segment, ...], ...]
    train: int
    validation: int
    too_long: int
    tokens_per_row: float
    supervised_per_row: float
    stop: str
    epochs: float
    steps: int
    batch_size: int
    learning_rate: float
    precision: Precision
    gradient_checkpointing: bool
    processes: int
    memory: Memory
    free_bytes: int
    tokens_per_second: float
    seconds: float


@contextmanager
def workshop(
    task: Task, dials: Dials, *, base: str | None = None, out: Path | None = None, progress: Progress = silent
) -> Iterator[Workshop]:
    """The workshop of one tuning; its folder is held until the end. Raises UserError where it cannot run."""
    name = CANDIDATES[dials.method]
    _check(dials)
    options = Options(only=(name,), base=base, out=out)
    found = survey(task, options)
    reason = reasons((name,), task, found.base, None)[name]
    if reason:
        raise UserError(
            f"{name} cannot be tuned here: {reason}.",
            fix="Try --method lora, or another --base."
            if dials.method == "full"
            else "Name another --base, or install what is missing.",
        )
    with files.lock(found.out / WORK, "a build"):
        shop, _ = prepare(task, options, found, progress)
        yield shop


def preview(shop: Workshop, dials: Dials, *, budget: float | None = None) -> tuple[Preview, Dials]:
    """What this tuning will teach and take, and the dials with the epochs that `budget` (seconds) allows.

    Ten steps are truly trained to know the speed; that is kept, so that the same command goes on from an
    interruption with the same epochs. Raises DataError, ModelError or UserError for what cannot end well.
    """
    request, too_long = request_of(shop, dials, shop.steps.folder)
    checked, free = preflight(request), psutil.virtual_memory().available
    request = checkpointed(checked.request, free=free)
    rehearsed = _rehearsed(shop, request)
    speed = rehearsed.tokens_per_second
    if budget is not None:
        dials = replace(dials, epochs=epochs_within(request, budget, speed))
        request = replace(request, options=replace(request.options, epochs=dials.epochs))
    options, count = request.options, len(request.train)
    assert shop.base is not None
    seen = Preview(
        candidate=CANDIDATES[dials.method],
        method=dials.method,
        rank=None if dials.method == "full" else options.rank,
        base=shop.base.pin.ref,
        parameters=shape.read(shop.base.path).parameters,
        rows=tuple(segments(shop, row) for row in request.train[:SHOWN_ROWS]),
        train=count,
        validation=len(request.validation),
        too_long=too_long,
        tokens_per_row=checked.tokens / count,
        supervised_per_row=checked.supervised_tokens / count,
        stop=_text(shop, (options.end_id,)),
        epochs=options.epochs_for(count),
        steps=options.steps(count),
        batch_size=options.batch_size,
        learning_rate=learning_rate(request),
        precision=rehearsed.precision,
        gradient_checkpointing=bool(options.gradient_checkpointing),
        processes=options.processes,
        memory=memory(request),
        free_bytes=free,
        tokens_per_second=speed,
        seconds=seconds(request, tokens_per_second=speed),
    )
    return seen, dials


def tune(shop: Workshop, dials: Dials) -> tuple[Bundle, Tuned]:
    """Tune and freeze. The same dials go on where an interrupted run stopped."""
    bundle = make_reference(shop, CANDIDATES[dials.method], dials)
    return bundle, tuned(shop, dials)


def epochs_within(request: TuneRequest, budget: float, tokens_per_second: float) -> float:
    """Whole epochs that end within `budget` seconds, at most MOST_EPOCHS. Raises UserError when none does."""
    takes = {
        epochs: seconds(
            replace(request, options=replace(request.options, epochs=epochs)),
            tokens_per_second=tokens_per_second,
        )
        for epochs in range(1, MOST_EPOCHS + 1)
    }
    fitting = [epochs for epochs, needed in takes.items() if needed <= budget]
    if not fitting:
        raise UserError(
            f"One epoch takes about {takes[1]:.0f} s here; the budget is {budget:.0f} s.",
            fix=f"Give --budget {takes[1] // 60 + 1:.0f}m or more, fewer rows, or a smaller base.",
        )
    return float(max(fitting))


def segments(shop: Workshop, row: TrainingRow) -> tuple[Segment, ...]:
    """A row as text, control tokens and all, cut where supervision begins or ends."""
    pairs = groupby(zip(row.ids, row.supervised, strict=True), key=lambda pair: pair[1])
    return tuple(
        Segment(text=_text(shop, tuple(id for id, _ in piece)), supervised=supervised)
        for supervised, piece in pairs
    )


def _text(shop: Workshop, ids: tuple[int, ...]) -> str:
    tokenizer = shop.words.tokenizer
    assert isinstance(tokenizer, TextTokenizer), "a base that can be tuned is a folder"
    text: str = tokenizer.inner.decode(list(ids), skip_special_tokens=False)
    return text


def _rehearsed(shop: Workshop, request: TuneRequest) -> Rehearsal:
    """Ten real steps, measured once for these rows and options."""
    step, options = f"rehearse-{request.options.method}", request.options
    reads = reads_of(shop, replace(options, epochs=None, learning_rate=None))
    reads["gradient_checkpointing"] = options.gradient_checkpointing

    def work(_: Path) -> dict[str, Any]:
        return asdict(stage.rehearse(request))

    return Rehearsal(**shop.steps.run(step, reads, work))


def _check(dials: Dials) -> None:
    """Raises UserError for a dial out of range, before anything is read."""
    check_board(dials.tensorboard or settings.load().tensorboard)
    if dials.rank is not None and dials.method == "full":
        raise UserError(f"--rank {dials.rank} has no meaning for --method full.", fix="Leave it out.")
    if dials.rank is not None and not 1 <= dials.rank <= 1024:
        raise UserError(f"--rank {dials.rank} is not 1 to 1024.", fix="16 suits most tasks.")
    if dials.epochs is not None and not 0 < dials.epochs <= 1000:
        raise UserError(f"--epochs {dials.epochs:g} is not above 0 and at most 1000.", fix="Try --epochs 3.")
    if dials.learning_rate is not None and not 0 < dials.learning_rate <= 1:
        raise UserError(
            f"--learning-rate {dials.learning_rate:g} is not above 0 and at most 1.",
            fix="Leave it out: it then follows from the method and the base.",
        )
