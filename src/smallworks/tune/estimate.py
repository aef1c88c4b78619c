"""What a tuning will take, before it runs: memory by formula, time by a short measurement of this machine.

The figures stand beside the measured ones in every result, so a formula that drifts is seen.
"""

from __future__ import annotations

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
NUMBER_SECONDS = 8e-9
"""Time outside matrix products per number kept for the backward pass, on one thread (measured)."""
STEP_SECONDS = 0.05
"""What a step costs however small: the optimiser, the log, the trainer."""


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Peak bytes of the training process by part."""

    runtime: int
    weights: int
    adapter: int
    activations: int

    @property
    def total(self) -> int:
        return self.runtime + self.weights + self.adapter + self.activations

    def __str__(self) -> str:
        parts = {
            "weights": self.weights,
            "adapter and optimiser": self.adapter,
            "activations": self.activations,
            "libraries": self.runtime,
        }
        return ", ".join(f"{name} {size / 1e9:.2f}" for name, size in parts.items())


def estimate(request: TuneRequest) -> Cost:
    """Peak memory and wall time of this request, start-up included. Measures for a tenth of a second."""
    return Cost(memory_bytes=memory(request).total, seconds=seconds(request))


def memory(request: TuneRequest) -> Memory:
    facts, options = shape.read(request.base), request.options
    width = 4 if resolve("auto", parameters=facts.parameters) == "float32" else 2
    tokens = options.batch_size * max(len(row.ids) for row in request.train)
    adapter = options.rank * facts.widths
    kept = _activations(facts, tokens, options.rank, checkpointing=options.gradient_checkpointing)
    # Adapter, gradient and AdamW's two moments, all float32.
    return Memory(
        runtime=RUNTIME_BYTES,
        weights=facts.parameters * width,
        adapter=4 * 4 * adapter,
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


def seconds(request: TuneRequest) -> float:
    facts, options = shape.read(request.base), request.options
    steps = options.steps(len(request.train))
    mean = sum(len(row.ids) for row in request.train) / len(request.train)
    rows = steps * options.batch_size * options.accumulation
    trained = mean * min(rows, options.epochs * len(request.train))
    validations = len(request.validation) and options.epochs * options.evals_per_epoch
    validated = validations * sum(len(row.ids) for row in request.validation)
    body = facts.parameters - facts.vocab * facts.hidden
    # Forward 2 and backward through the activations 2 per parameter and token; the frozen base wants no
    # gradient of its own, the adapter does. Validation is forward alone.
    work = (4 * body + 6 * options.rank * facts.widths) * trained + 2 * body * validated
    numbers = _activations(facts, 1, options.rank, checkpointing=False) * (trained + validated / 3)
    fast = flops(int(mean * options.batch_size), facts, options.threads)
    busy = work / fast + NUMBER_SECONDS * numbers / options.threads
    return STARTUP_SECONDS + busy + STEP_SECONDS * steps * options.accumulation


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
