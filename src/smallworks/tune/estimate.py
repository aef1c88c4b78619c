"""What a tuning will take, before it runs: memory by formula, time by a short measurement of this machine.

The figures stand beside the measured ones in every result, so a formula that drifts is seen.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

from smallworks.engines import shape
from smallworks.engines.shape import Shape
from smallworks.engines.transformers import resolve
from smallworks.errors import ModelError
from smallworks.tune.options import Cost, TuneRequest

RUNTIME_BYTES = 620_000_000
"""Resident memory of Python with torch, transformers, PEFT and TRL before any model."""
PEAK = 1.5
"""Peak over what is kept for the backward pass: temporaries, gradients, the allocator's gaps (measured)."""
STARTUP_SECONDS = 12.0
"""Importing the libraries and loading a small base."""
OPTIMISER_SECONDS = 1e-9
"""Time that AdamW and clipping take a step and trained parameter, on one thread (measured)."""
NUMBER_SECONDS = 8e-9
"""Time outside matrix products per number kept for the backward pass, on one thread (measured)."""
STEP_SECONDS = 0.05
"""What a step costs however small: the optimiser, the log, the trainer."""


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Peak bytes of the training process by part; `trained` is what training adds to the base's weights."""

    runtime: int
    weights: int
    trained: int
    activations: int

    @property
    def total(self) -> int:
        return self.runtime + self.weights + self.trained + self.activations

    def __str__(self) -> str:
        parts = {
            "weights": self.weights,
            "gradients and optimiser": self.trained,
            "activations": self.activations,
            "libraries": self.runtime,
        }
        return ", ".join(f"{name} {size / 1e9:.2f}" for name, size in parts.items())


def estimate(request: TuneRequest) -> Cost:
    """Peak memory and wall time of this request, start-up included. Measures for a tenth of a second."""
    return Cost(memory_bytes=memory(request).total, seconds=seconds(request))


def memory(request: TuneRequest) -> Memory:
    facts, options = shape.read(request.base), request.options
    whole = options.method == "full"
    width = 4 if whole or resolve("auto", parameters=facts.parameters) == "float32" else 2
    tokens = options.batch_size * max(len(row.ids) for row in request.train)
    rank = 0 if whole else options.rank
    kept = _activations(facts, tokens, rank, checkpointing=options.gradient_checkpointing)
    # In float32: an adapter, its gradient and AdamW's two moments; of a whole model all but the weights.
    trained = 3 * facts.parameters if whole else 4 * rank * facts.widths
    return Memory(
        runtime=RUNTIME_BYTES,
        weights=facts.parameters * width,
        trained=4 * trained,
        activations=int(PEAK * width * kept),
    )


def refuse_if_too_large(request: TuneRequest, *, free: int) -> None:
    """Raises ModelError with the numbers where the estimate exceeds the free bytes."""
    needed = memory(request)
    if needed.total <= free:
        return
    options = request.options
    smaller = (
        f"batch_size={options.batch_size // 2} with accumulation={options.accumulation * 2}"
        if options.batch_size > 1
        else "gradient_checkpointing=True"
    )
    raise ModelError(
        f"Tuning '{request.base}' takes about {needed.total / 1e9:.2f} GB ({needed}); "
        f"{free / 1e9:.2f} GB are free.",
        fix=f"Try {smaller}, or a smaller base.",
    )


def seconds(request: TuneRequest, *, tokens_per_second: float | None = None) -> float:
    """Wall time with start-up: by formula, or at the speed that `rehearse` measured."""
    facts, options = shape.read(request.base), request.options
    steps, trained, validated = _amounts(request)
    if tokens_per_second is not None:
        # A validation is forward alone: a third of the work.
        return STARTUP_SECONDS + (trained + validated / 3) / tokens_per_second
    whole = options.method == "full"
    rank = 0 if whole else options.rank
    body = facts.parameters - facts.vocab * facts.hidden
    # Forward 2 and backward through the activations 2 per parameter and token; what is trained wants a
    # gradient of its own, 2 more, and an adapter its own forward and backward. Validation is forward alone.
    work = ((6 if whole else 4) * body + 6 * rank * facts.widths) * trained + 2 * body * validated
    numbers = _activations(facts, 1, rank, checkpointing=False) * (trained + validated / 3)
    mean = sum(len(row.ids) for row in request.train) / len(request.train)
    fast = flops(int(mean * options.batch_size), facts, options.threads)
    busy = work / fast + NUMBER_SECONDS * numbers / options.threads
    step = STEP_SECONDS * options.accumulation
    step += OPTIMISER_SECONDS * (facts.parameters if whole else rank * facts.widths) / options.threads
    return STARTUP_SECONDS + busy + step * steps


def _amounts(request: TuneRequest) -> tuple[int, float, float]:
    """Optimiser steps, and tokens read in training and in validations."""
    options, count = request.options, len(request.train)
    steps, epochs = options.steps(count), options.epochs_for(count)
    mean = sum(len(row.ids) for row in request.train) / count
    trained = mean * min(steps * options.batch_size * options.accumulation, epochs * count)
    validations = math.ceil(steps / options.interval(count))
    return steps, trained, validations * sum(len(row.ids) for row in request.validation)


def flops(tokens: int, facts: Shape, threads: int) -> float:
    """Floating-point operations a second in the base's own matrix product, float32, on `threads` threads."""
    import numpy as np

    from smallworks.settings import physical_cores

    left = np.ones((max(1, tokens), facts.hidden), np.float32)
    right = np.ones((facts.hidden, facts.intermediate), np.float32)
    left @ right
    start, times = time.perf_counter(), 0
    while time.perf_counter() - start < 0.1:
        left @ right
        times += 1
    spent = time.perf_counter() - start
    share = min(1.0, threads / physical_cores())
    return 2.0 * left.size * facts.intermediate * times / spent * share


def _activations(facts: Shape, tokens: int, rank: int, *, checkpointing: bool) -> int:
    """Numbers kept for the backward pass, attention by blocks (no score matrix is kept).

    A layer keeps its two normed inputs and their residuals, queries, keys, values, the attention's
    output and projection, the gate, its activation, the up projection and their product, and the
    low-rank halves of seven adapters.
    """
    attention = (3 * facts.heads + 4 * facts.kv_heads) * facts.head_dim
    layer = 6 * facts.hidden + attention + 5 * facts.intermediate + 14 * rank
    if checkpointing:
        return tokens * (facts.layers * facts.hidden + layer)
    return tokens * facts.layers * layer
