"""What a tuning asks for and gives back, as frozen values. Knows nothing of torch, TRL or templates."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from smallworks import files
from smallworks.engines import shape
from smallworks.prompt import TrainingRow


@dataclass(frozen=True, kw_only=True)
class LoraOptions:
    """How to tune. `end_id` is the end-of-turn token that every answer must end on; `pad_id` fills batches.

    `learning_rate` None follows `rate()`, which wants `alpha` 32. `threads` belongs to the lineage: sums in
    another order give another adapter. `patience` counts validations without a better loss; 0 never stops.
    """

    end_id: int
    pad_id: int
    rank: int = 16
    alpha: int = 32
    dropout: float = 0.0
    target: str = "all-linear"
    learning_rate: float | None = None
    epochs: float = 3.0
    batch_size: int = 8
    accumulation: int = 1
    warmup_ratio: float = 0.1
    weight_decay: float = 0.0
    max_length: int = 1024
    patience: int = 3
    evals_per_epoch: int = 2
    seed: int = 0
    threads: int = 1
    gradient_checkpointing: bool = False

    def steps_per_epoch(self, rows: int) -> int:
        return math.ceil(math.ceil(rows / self.batch_size) / self.accumulation)

    def steps(self, rows: int) -> int:
        """Optimiser steps of the whole training."""
        return max(1, math.ceil(self.epochs * self.steps_per_epoch(rows)))


@dataclass(frozen=True, kw_only=True)
class TuneRequest:
    """`out` receives adapter/, result.json and, while it runs, checkpoints/."""

    base: Path
    out: Path
    train: tuple[TrainingRow, ...]
    options: LoraOptions
    validation: tuple[TrainingRow, ...] = ()

    def key(self) -> str:
        """Hash of everything that fixes the adapter: the base's bytes, the rows, the options."""
        base = {file.name: files.hash_file(file) for file in shape.weight_files(self.base)}
        rows = [[asdict(row) for row in part] for part in (self.train, self.validation)]
        return files.hash_value({"base": base, "rows": rows, "options": asdict(self.options)})


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a tuning takes: peak memory of its process in bytes, wall time in seconds."""

    memory_bytes: int
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Point:
    """One validation on the way: mean train loss since the last one, and loss on the held-out rows."""

    step: int
    train_loss: float
    val_loss: float | None


@dataclass(frozen=True, kw_only=True)
class TuneResult:
    """A finished tuning. Losses are nats per supervised token; `tokens_per_second` counts the prompt too.

    `seconds` and `peak_memory_bytes` are those of the last child process, to stand beside `estimate`;
    `resumed` says that earlier ones did a part.
    """

    adapter: Path
    adapter_sha256: str
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
    threads: int
    resumed: bool = False
    stopped_early: bool = False


def from_json(raw: Mapping[str, Any], *, out: Path) -> TuneResult:
    """The result that `out/result.json` holds; paths are those of `out` as it stands now."""
    return TuneResult(
        **{
            **raw,
            "adapter": out / "adapter",
            "curve": tuple(Point(**point) for point in raw["curve"]),
            "estimate": Cost(**raw["estimate"]),
        }
    )


NARROW = 512
"""Models narrower than this are tuned at one rate."""


def rate(*, architecture: str, hidden: int) -> float:
    """The learning rate for a LoRA on a model of this architecture and width, the same for every rank.

    5e-4 · (2000 / hidden)^p with p = 0.78, for Qwen 0.08: ten times the best rate of full fine-tuning,
    which falls with the width (Schulman et al., "LoRA Without Regret", 2025; with alpha / r as the scale
    the rank does not matter). Below NARROW, where they measured nothing, 6e-4: at width 256 the formula's
    2.5e-3 leaves 77 classes at chance, and 6e-4 learns them (LOG.md).
    """
    if hidden < NARROW:
        return 6e-4
    power = 0.08 if architecture.startswith("Qwen") else 0.78
    return 5e-4 * math.pow(2000 / hidden, power)
