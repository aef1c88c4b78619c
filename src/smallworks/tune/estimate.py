"""What a tuning will take, before it runs: memory by formula, time by a short measurement of this machine.

The figures stand beside the measured ones in every result, so a formula that drifts is seen.
"""

from __future__ import annotations

import math
from dataclasses import replace

from smallworks.engines import footprint, shape, speed
from smallworks.engines.footprint import Memory
from smallworks.engines.shape import Shape
from smallworks.engines.transformers import resolve
from smallworks.errors import ModelError
from smallworks.tune.options import QUANTIZED, Cost, TuneRequest

STARTUP_SECONDS = 12.0
"""Importing the libraries and loading a small base."""
OPTIMISER_SECONDS = 1e-9
"""Time that AdamW and clipping take a step and trained parameter, on one thread (measured)."""
NUMBER_SECONDS = 8e-9
"""Time outside matrix products per number kept for the backward pass, on one thread (measured)."""
RECOMPUTED = 4 / 3
"""Work with gradient checkpointing over the work without: one more pass forward."""
STEP_SECONDS = 0.05
"""What a step costs however small: the optimiser, the log, the trainer."""


def estimate(request: TuneRequest) -> Cost:
    """Peak memory and wall time of this request, start-up included. Measures for a tenth of a second."""
    return Cost(memory_bytes=memory(request).total, seconds=seconds(request))


def memory(request: TuneRequest) -> Memory:
    """By `engines.footprint`, which the choice of a base reckons with as well."""
    facts, options = shape.read(request.base), request.options
    whole, bits = options.method == "full", QUANTIZED.get(options.method)
    # Quantised, what is not a linear layer is loaded in float32.
    exact = whole or bits or resolve("auto", parameters=facts.parameters) == "float32"
    return footprint.training(
        facts,
        rank=None if whole else options.rank,
        tokens=options.batch_size * max(len(row.ids) for row in request.train),
        width=4 if exact else 2,
        bits=bits,
        checkpointing=bool(options.gradient_checkpointing),
    )


def checkpointed(request: TuneRequest, *, free: int) -> TuneRequest:
    """The request with gradient checkpointing decided: as asked, else on where it would not fit without."""
    if request.options.gradient_checkpointing is not None:
        return request
    needed = memory(request).total > free
    return replace(request, options=replace(request.options, gradient_checkpointing=needed))


def refuse_if_too_large(request: TuneRequest, *, free: int) -> None:
    """Raises ModelError with the numbers where the estimate exceeds the free bytes."""
    needed = memory(request)
    if needed.total <= free:
        return
    options = request.options
    smaller = (
        f"batch_size={options.batch_size // 2} with accumulation={options.accumulation * 2}"
        if options.batch_size > 1
        else "--gradient-checkpointing"
        if options.gradient_checkpointing is False
        else "--method qlora"
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
    work *= RECOMPUTED if options.gradient_checkpointing else 1
    numbers = footprint.activations(facts, 1, rank, checkpointing=False) * (trained + validated / 3)
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
    return speed.product(max(1, tokens), facts.hidden, facts.intermediate, threads=threads)
