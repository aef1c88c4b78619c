"""What a tuning asks for and gives back, as frozen values. Knows nothing of torch, TRL or templates."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from smallworks import files
from smallworks.engines import shape
from smallworks.prompt import TrainingRow

Method = Literal["lora", "rslora", "dora", "qlora", "qlora-int8", "full"]
Precision = Literal["float32", "bfloat16"]
QUANTIZED: Mapping[Method, Literal["nf4", "int8"]] = {"qlora": "nf4", "qlora-int8": "int8"}
"""The methods that load the base quantised while its adapter is tuned, and in what."""
ENOUGH_STEPS = 600
"""Steps that the narrow rate needs: macro-F1 on the sample tickets 0.457 with 189, 0.504 with 630."""
FEWEST_EPOCHS, MOST_EPOCHS = 3, 10
SMALL_BATCH, LARGE_BATCH = 8, 32
FEWEST_PATIENCE = 4


def usual(method: Method, rows: int) -> dict[str, Any]:
    """What `rate()` wants beside it, for so many training rows.

    At rank 16 every kind of LoRA scales alike: 32 / 16 = 8 / √16. Full tuning takes large batches where
    ENOUGH_STEPS of them are left, and else small ones.
    """
    if method != "full":
        return {"alpha": 8 if method == "rslora" else 32, "batch_size": SMALL_BATCH}
    many = rows * MOST_EPOCHS >= LARGE_BATCH * ENOUGH_STEPS
    batch = LARGE_BATCH if many else SMALL_BATCH
    return {"batch_size": batch, "weight_decay": 0.05, "beta2": 0.98}


def enough_epochs(steps_per_epoch: int) -> float:
    """Whole epochs that make ENOUGH_STEPS, 3 to 10 of them; of too many the best validation is kept."""
    return float(min(MOST_EPOCHS, max(FEWEST_EPOCHS, math.ceil(ENOUGH_STEPS / max(1, steps_per_epoch)))))


@dataclass(frozen=True, kw_only=True)
class TuneOptions:
    """How to tune. `end_id` is the end-of-turn token that every answer must end on; `pad_id` fills batches.

    `method` says what is trained: a LoRA of this `rank` scaled by alpha / rank (rslora: alpha / √rank; dora:
    with a length for every output), over the base as it is or (`QUANTIZED`) loaded in fewer bits; or with
    'full' every weight. `learning_rate` None follows `rate()`, which wants `usual()`; `epochs` None
    follows `epochs_for()`. `threads` belongs to the lineage: sums in another order give other weights.

    `patience` counts validations without a better loss; 0 never stops, None follows `patience_for()`. Between
    two of them are at least `least_interval` steps: few rows make short epochs and few validation rows, whose
    loss jumps about, and patience would end the tuning while it still warms up.

    `precision` is that of the matrix products; what is trained stays in float32. None is bfloat16 where the
    machine is faster with it (`weights.precision_for`). `gradient_checkpointing` computes again what the
    backward pass needs instead of keeping it: the same bytes, less memory, a third more time; None takes it
    where the memory would not be free without.

    `codes` are the token ids that stand for a closed set of labels. With them validations are compared by
    the loss of the labels at its best temperature (`history.LABEL_LOSS`), else by that of all tokens.

    `processes` share every batch evenly, on a GPU each where there are GPUs: the same steps, whose sums are
    taken in another order.
    """

    end_id: int
    pad_id: int
    method: Method = "lora"
    rank: int = 16
    alpha: int = 32
    dropout: float = 0.0
    target: str = "all-linear"
    learning_rate: float | None = None
    epochs: float | None = None
    batch_size: int = 8
    accumulation: int = 1
    warmup_ratio: float = 0.1
    weight_decay: float = 0.0
    beta2: float = 0.999
    max_length: int = 1024
    patience: int | None = None
    evals_per_epoch: int = 2
    least_interval: int = 20
    seed: int = 0
    threads: int = 1
    precision: Precision | None = None
    gradient_checkpointing: bool | None = None
    codes: tuple[int, ...] = ()
    processes: int = 1

    def steps_per_epoch(self, rows: int) -> int:
        return math.ceil(math.ceil(rows / self.batch_size) / self.accumulation)

    def epochs_for(self, rows: int) -> float:
        """Passes over so many rows: what was asked, else `enough_epochs`."""
        if self.epochs is not None:
            return self.epochs
        return enough_epochs(self.steps_per_epoch(rows))

    def steps(self, rows: int) -> int:
        """Optimiser steps of the whole training."""
        return max(1, math.ceil(self.epochs_for(rows) * self.steps_per_epoch(rows)))

    def interval(self, rows: int) -> int:
        """Steps between two validations, and between two checkpoints."""
        return max(1, self.least_interval, self.steps_per_epoch(rows) // self.evals_per_epoch)

    def patience_for(self, rows: int) -> int:
        """What was asked, else half of the validations that are planned, and never fewer than four.

        The rate falls to nothing over the steps planned, and most is gained in the second half of them: on
        450 rows the loss stood still for five validations of twenty and then fell to the end (LOG.md).
        """
        if self.patience is not None:
            return self.patience
        return max(FEWEST_PATIENCE, math.ceil(self.steps(rows) / self.interval(rows) / 2))

    def name(self) -> str:
        """Six digits that tell these options from others."""
        return files.hash_value(self.fixing())[:6]

    @property
    def part(self) -> Literal["adapter", "model"]:
        """What the tuning makes, and the name of its folder: DoRA is more than an adapter's plain formula."""
        return "model" if self.method in ("full", "dora") else "adapter"

    def fixing(self) -> dict[str, Any]:
        """The options that fix the weights: gradient checkpointing changes none of their bytes."""
        options = asdict(self)
        del options["gradient_checkpointing"]
        if self.processes == 1:
            del options["processes"]
        return options


def raw(row: TrainingRow) -> dict[str, Any]:
    """The row as JSON holds it. Without shares it is the one of a row that never could have any."""
    return {name: value for name, value in asdict(row).items() if name != "shares" or value}


WEIGHTS = {"adapter": "adapter_model.safetensors", "model": "model.safetensors"}
"""The file of a part that holds its tensors."""


@dataclass(frozen=True, kw_only=True)
class TuneRequest:
    """`out` receives adapter/ or model/, result.json and, while it runs, checkpoints/.

    `tensorboard` is a folder for the losses as they come; it fixes nothing of the weights.
    """

    base: Path
    out: Path
    train: tuple[TrainingRow, ...]
    options: TuneOptions
    validation: tuple[TrainingRow, ...] = ()
    tensorboard: Path | None = None

    def key(self) -> str:
        """Hash of everything that fixes the weights: the base's bytes, the rows, the options."""
        base = {file.name: files.hash_file(file) for file in shape.weight_files(self.base)}
        rows = [[raw(row) for row in part] for part in (self.train, self.validation)]
        return files.hash_value({"base": base, "rows": rows, "options": self.options.fixing()})


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a tuning takes: peak memory of its process in bytes, wall time in seconds."""

    memory_bytes: int
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Rehearsal:
    """What the first steps showed: tokens a second, and the precision that the machine took."""

    tokens_per_second: float
    precision: Precision


@dataclass(frozen=True, kw_only=True)
class Point:
    """One validation on the way: mean train loss since the last one, and loss on the held-out rows.

    `label_loss` is that of the labels alone, nats a row at the temperature that fits these rows best.
    """

    step: int
    train_loss: float
    val_loss: float | None
    label_loss: float | None = None


@dataclass(frozen=True, kw_only=True)
class Forgetting:
    """Nats a token before and after, on general text and on what the base itself says."""

    general_before: float
    general_after: float
    own_before: float
    own_after: float

    def __str__(self) -> str:
        return (
            f"general text {self.general_before:.2f} → {self.general_after:.2f} nats a token, "
            f"the base's own answers {self.own_before:.2f} → {self.own_after:.2f}"
        )


@dataclass(frozen=True, kw_only=True)
class TuneResult:
    """A finished tuning. `weights` is the folder of the adapter or the whole model, `sha256` its tensors'.

    Losses are nats per supervised token, `best_val_loss` is that of the validation that decided, nats a row
    where labels did; `tokens_per_second` counts the prompt too. `seconds` and
    `peak_memory_bytes` are those of the last child process, to stand beside `estimate`; `resumed` says
    that earlier ones did a part.
    """

    weights: Path
    sha256: str
    key: str
    steps: int
    best_step: int
    curve: tuple[Point, ...]
    best_val_loss: float | None
    learning_rate: float
    trainable_parameters: int
    supervised_tokens: int
    tokens_per_second: float
    seconds: float
    peak_memory_bytes: int
    estimate: Cost
    forgetting: Forgetting
    threads: int
    precision: Precision
    gradient_checkpointing: bool
    resumed: bool = False
    stopped_early: bool = False


def from_json(raw: Mapping[str, Any], *, out: Path) -> TuneResult:
    """The result that `out/result.json` holds; paths are those of `out` as it stands now."""
    return TuneResult(
        **{
            **raw,
            "weights": out / raw["weights"],
            "curve": tuple(Point(**point) for point in raw["curve"]),
            "estimate": Cost(**raw["estimate"]),
            "forgetting": Forgetting(**raw["forgetting"]),
        }
    )


NARROW = 512
"""Models narrower than this are tuned at one rate."""


def rate(*, architecture: str, hidden: int, method: Method = "lora") -> float:
    """The learning rate on a model of this architecture and width, for a LoRA the same for every rank.

    5e-4 · (2000 / hidden)^p with p = 0.78, for Qwen 0.08: ten times the best rate of full tuning, which
    falls with the width (Schulman et al., "LoRA Without Regret", 2025; with alpha / r as the scale the
    rank does not matter). Below NARROW, where they measured nothing, 6e-4 for every method: at width 256
    the formula's 2.5e-3 leaves a LoRA for 77 classes at chance, and 6e-4 learns them; full tuning learns
    them too at 6e-4 in batches of 32, and in fewer epochs (LOG.md).
    """
    if hidden < NARROW:
        return 6e-4
    power = 0.08 if architecture.startswith("Qwen") else 0.78
    return (5e-5 if method == "full" else 5e-4) * math.pow(2000 / hidden, power)


def learning_rate(request: TuneRequest) -> float:
    """What was asked, else what `rate` says of the base."""
    if request.options.learning_rate is not None:
        return request.options.learning_rate
    facts = shape.read(request.base)
    return rate(architecture=facts.architecture, hidden=facts.hidden, method=request.options.method)
