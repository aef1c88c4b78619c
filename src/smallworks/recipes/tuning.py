"""How a base is tuned for a task: rows rendered, options by rule, the tuned weights as a step."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from smallworks import files, settings, tune
from smallworks.engines.opening import threads_for
from smallworks.prompt import Renderer, TrainingRow
from smallworks.prompt import tokenizer as tokenizers
from smallworks.recipes.plan import TUNED
from smallworks.recipes.workshop import Workshop
from smallworks.tune import Validated
from smallworks.tune.options import Forgetting, Method, Point, Precision, TuneOptions, TuneRequest, usual
from smallworks.types import Example, PromptSpec

Tunable = Literal["lm-lora", "lm-full"]
MOST_LISTED = 32
"""A tuned model learns its codes, so a longer label list would only cost prefill."""
LONGEST_ROW = 1024
"""Tokens of a training row; longer ones are left out of tuning, and counted."""
FOLDER = "tuned"


@dataclass(frozen=True, kw_only=True)
class Dials:
    """What a user may set of a tuning; None follows the rules of `tune.options`."""

    method: Method = "lora"
    epochs: float | None = None
    rank: int | None = None
    learning_rate: float | None = None
    precision: Precision | None = None
    gradient_checkpointing: bool | None = None
    processes: int = 1
    tensorboard: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Tuned:
    """Finished weights: the folder of an adapter or of a whole model, as `part` says, and how they came."""

    weights: Path
    part: Literal["adapter", "model"]
    method: Method
    sha256: str
    steps: int
    best_val_loss: float | None
    forgetting: Forgetting
    curve: tuple[Point, ...]
    seconds: float


def dials_of(shop: Workshop, name: Tunable) -> Dials:
    """How a build tunes this candidate."""
    return Dials(method=TUNED[name], epochs=shop.task.build.epochs)


def step_of(dials: Dials) -> str:
    return f"tune-{dials.method}"


def tuned(shop: Workshop, dials: Dials, *, validated: Validated | None = None) -> Tuned:
    """The weights tuned on the training rows, the loss watched on the validation rows.

    `validated` hears every validation; what it raises ends the tuning, which can be resumed.
    """
    assert shop.base is not None
    step = step_of(dials)
    options = options_of(shop, dials)
    reads = reads_of(shop, options)

    def relay(_: str, done: float, total: float, note: str) -> None:
        shop.progress(step, done, total, note)

    def work(folder: Path) -> dict[str, Any]:
        request, dropped = request_of(shop, dials, folder / FOLDER)
        result = tune.fit(request, progress=relay, validated=validated)
        return {
            "sha256": result.sha256,
            "steps": result.steps,
            "best_val_loss": result.best_val_loss,
            "curve": [asdict(point) for point in result.curve],
            "forgetting": asdict(result.forgetting),
            "seconds": result.seconds,
            "too_long": dropped,
        }

    result: dict[str, Any] = shop.steps.run(step, reads, work)
    return Tuned(
        weights=shop.steps.folder_of(step, reads) / FOLDER / options.part,
        part=options.part,
        method=dials.method,
        forgetting=Forgetting(**result["forgetting"]),
        curve=tuple(Point(**point) for point in result["curve"]),
        **{name: result[name] for name in ("sha256", "steps", "best_val_loss", "seconds")},
    )


def reads_of(shop: Workshop, options: TuneOptions) -> dict[str, Any]:
    """What a tuning depends on, as the key of its step."""
    assert shop.base is not None
    reads = {
        "data": shop.data_key,
        "base": shop.base.pin.sha256,
        "task": shop.wording,
        "options": options.fixing(),
    }
    taught = [e.probabilities for e in shop.splits.train + shop.synthetic]
    return {**reads, "taught": files.hash_value(taught)} if any(taught) else reads


def request_of(shop: Workshop, dials: Dials, out: Path) -> tuple[TuneRequest, int]:
    """What `tune.fit` is asked for, and how many training rows are too long for it."""
    assert shop.base is not None
    options, renderer = options_of(shop, dials), renderer_of(shop)
    train, dropped = _rows(renderer, shop.splits.train + shop.synthetic, options.max_length)
    # Checkpoints are compared by what was labelled, never by what a teacher holds.
    labelled = tuple(replace(e, probabilities=None) for e in shop.splits.validation)
    validation, _ = _rows(renderer, labelled, options.max_length)
    request = TuneRequest(
        base=shop.base.path,
        out=out,
        train=train,
        validation=validation,
        options=options,
        tensorboard=_board(shop, dials),
    )
    return request, dropped


def _board(shop: Workshop, dials: Dials) -> Path | None:
    """A folder for this one tuning, in the one that the user named."""
    folder = dials.tensorboard or settings.load().tensorboard
    return folder / f"{shop.task.name}-{step_of(dials)}-{options_of(shop, dials).name()}" if folder else None


def options_of(shop: Workshop, dials: Dials) -> TuneOptions:
    assert shop.base is not None
    stop_ids, choices = renderer_of(shop).stop_ids, spec_of(shop).choices
    asked = {"rank": dials.rank} if dials.rank else {}
    return TuneOptions(
        end_id=stop_ids[0],
        pad_id=_pad_id(shop, stop_ids),
        method=dials.method,
        epochs=None if dials.epochs is None else float(dials.epochs),
        learning_rate=dials.learning_rate,
        precision=dials.precision,
        gradient_checkpointing=dials.gradient_checkpointing,
        seed=shop.task.build.seed,
        max_length=min(shop.words.context, LONGEST_ROW),
        threads=threads_for(shop.base.path),
        codes=choices.ids if choices else (),
        processes=dials.processes,
        **{**usual(dials.method, len(shop.splits.train) + len(shop.synthetic)), **asked},
    )


def renderer_of(shop: Workshop) -> Renderer:
    return Renderer(spec_of(shop), shop.words.template, shop.words.tokenizer)


def spec_of(shop: Workshop) -> PromptSpec:
    """The prompt of a tuned candidate."""
    return shop.prompt(listed=len(shop.splits.labels) <= MOST_LISTED)


def _rows(
    renderer: Renderer, examples: tuple[Example, ...], longest: int
) -> tuple[tuple[TrainingRow, ...], int]:
    """Rendered rows that fit, and how many did not."""
    rendered = [renderer.training(e.text, e.output, e.probabilities) for e in examples]
    kept = tuple(row for row in rendered if len(row.ids) <= longest)
    return kept, len(rendered) - len(kept)


def _pad_id(shop: Workshop, stop_ids: tuple[int, ...]) -> int:
    """The base's own padding token, or any id that ends no answer: padding is masked either way."""
    assert shop.base is not None
    own = tokenizers.load(shop.base.path).pad_id
    return own if own is not None and own not in stop_ids else next(i for i in range(99) if i not in stop_ids)
