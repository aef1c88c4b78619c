"""How fast this machine reads memory and multiplies, measured in a second, and what a model makes of it.

Writing a token reads every active weight once and unpacks it: the slower of memory and arithmetic sets the
pace. Reading a prompt multiplies. The shares below are llama.cpp's on one CPU, set between a busy and a quiet
machine; `python -m benchmarks estimates` compares them with measurement.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from statistics import fmean

from smallworks import settings
from smallworks.engines import footprint
from smallworks.engines.footprint import Format
from smallworks.engines.shape import Shape

Clock = Callable[[], float]
SECONDS = 0.3
"""How long each of the two is measured; the fastest pass counts, so that a busy moment does not."""
COPIED = 64 * 2**20
"""Bytes that each thread copies at once: far more than any cache holds."""
PRODUCT = (512, 1024, 4096)
"""A matrix product of the size that a prompt makes in a model of a billion parameters."""
LAYER_SECONDS, TOKEN_SECONDS = 50e-6, 0.8e-3
"""What a written token costs beside bytes and arithmetic: in each layer, and drawing it and telling of it."""
PROMPT_SECONDS, SCORE_SECONDS = 130e-6, 2e-9
"""The same for a token of a prompt, and for each score of a head between two of its tokens, on one thread."""
WRITTEN = {"f32": 0.5, "bf16": 0.3, "f16": 0.3, "q8_0": 0.27, "q4_K_M": 0.4, "q4_0": 0.47, "int8": 0.27}
"""Operations a second in writing over those of numpy's float32 product: unpacking weights for one token."""
READ = {"f32": 0.45, "bf16": 0.45, "f16": 0.45, "q8_0": 0.64, "q4_K_M": 0.6, "q4_0": 0.75, "int8": 0.64}
"""Operations a second in reading a prompt over those of numpy's float32 product."""
ENCODED = 2.0
"""The same of an int8 encoder on onnxruntime, on a CPU with instructions for it (measured)."""


@dataclass(frozen=True, kw_only=True)
class Speed:
    """`bandwidth` in bytes a second, `flops` in float32 operations a second, both on `threads` threads."""

    bandwidth: float
    flops: float
    threads: int


def measure(threads: int | None = None, *, clock: Clock = time.perf_counter) -> Speed:
    """Copies large arrays and multiplies matrices for about a second, on the threads that engines use."""
    used = threads or settings.load().threads
    return Speed(
        bandwidth=copying(used, clock=clock),
        flops=product(*PRODUCT, threads=used, seconds=SECONDS, of=min, clock=clock),
        threads=used,
    )


def copying(threads: int, *, seconds: float = SECONDS, clock: Clock = time.perf_counter) -> float:
    """Bytes read and written a second, every thread copying an array of its own."""
    import numpy as np

    pairs = [(np.ones(COPIED, np.uint8), np.zeros(COPIED, np.uint8)) for _ in range(threads)]
    with ThreadPoolExecutor(threads) as pool:

        def once() -> None:
            list(pool.map(lambda pair: np.copyto(pair[1], pair[0]), pairs))

        return 2.0 * COPIED * threads / min(_passes(once, seconds, clock))


def product(
    rows: int,
    inner: int,
    columns: int,
    *,
    threads: int,
    seconds: float = 0.1,
    of: Callable[[Sequence[float]], float] = fmean,
    clock: Clock = time.perf_counter,
) -> float:
    """Float32 operations a second of a matrix product [rows, inner] × [inner, columns] on `threads` threads.

    `of` makes one time of those of all passes: their mean for what is about to run here and now.
    """
    import numpy as np

    left, right = np.ones((rows, inner), np.float32), np.ones((inner, columns), np.float32)
    share = min(1.0, threads / settings.array_threads())
    return 2.0 * rows * inner * columns * share / of(_passes(lambda: left @ right, seconds, clock))


def _passes(work: Callable[[], object], seconds: float, clock: Clock) -> list[float]:
    """Seconds of as many passes as fit, at least one, after one that does not count."""
    work()
    end, taken = clock() + seconds, list[float]()
    while not taken or clock() < end:
        start = clock()
        work()
        taken.append(clock() - start)
    return taken


def decode(shape: Shape, form: Format, speed: Speed, *, context: int, active: int | None = None) -> float:
    """Tokens written a second by one sequence that already holds `context` tokens.

    `active` is the parameters that a token uses, where a mixture of experts has more.
    """
    share = (active or shape.parameters) / shape.parameters
    # Of two tables only the output's is read whole; the embedding gives one row.
    table = shape.vocab * shape.hidden
    idle = table * footprint.TABLE[form] * (footprint.tables(shape) - 1)
    read = (footprint.weights(shape, form) - idle) * share + footprint.cache(shape, context)
    narrow = "q8_0" if form == "q4_0" else form
    work = 2 * (shape.linear * share / WRITTEN[form] + table / WRITTEN[narrow]) / speed.flops
    return 1.0 / (max(read / speed.bandwidth, work) + shape.layers * LAYER_SECONDS + TOKEN_SECONDS)


def prefill(shape: Shape, form: Format, speed: Speed, *, tokens: int, active: int | None = None) -> float:
    """Tokens read a second of a prompt of `tokens` tokens."""
    body = shape.linear - (shape.parameters - (active or shape.parameters))
    work = tokens * (2 * body + _attention(shape, tokens)) + 2 * shape.vocab * shape.hidden
    scores = shape.layers * shape.heads * tokens * tokens * SCORE_SECONDS / speed.threads
    return tokens / (work / (READ[form] * speed.flops) + scores + tokens * PROMPT_SECONDS + TOKEN_SECONDS)


def encode(shape: Shape, speed: Speed, *, tokens: int) -> float:
    """Seconds that an int8 encoder takes for a text of `tokens` tokens."""
    return tokens * (2 * shape.linear + _attention(shape, tokens)) / (ENCODED * speed.flops)


def _attention(shape: Shape, tokens: int) -> int:
    """Operations a token of scores and weighted values; llama.cpp computes those of later tokens too."""
    return 4 * shape.layers * shape.heads * shape.head_dim * tokens
