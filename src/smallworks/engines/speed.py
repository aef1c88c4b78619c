"""How fast this machine reads memory and multiplies, measured in a second, and what a model makes of it.

Writing a token reads every active weight once: memory sets the pace. Reading a prompt multiplies: arithmetic
does. The shares below are llama.cpp's on a CPU; `python -m benchmarks estimates` compares with measurement.
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

SECONDS = 0.3
"""How long each of the two is measured; the fastest pass counts, so that a busy moment does not."""
COPIED = 64 * 2**20
"""Bytes that each thread copies at once: far more than any cache holds."""
PRODUCT = (512, 1024, 4096)
"""A matrix product of the size that a prompt makes in a model of a billion parameters."""
READ = 0.75
"""Bytes a second that decoding reads over those of a plain copy."""
LAYER_SECONDS = 40e-6
"""What a layer costs a token beside its bytes: threads that wait for each other, norms, attention."""
TOKEN_SECONDS = 0.5e-3
"""What a token costs beside its layers: drawing it, its text, its event."""
MULTIPLIED = {"f32": 0.6, "bf16": 0.6, "f16": 0.6, "q8_0": 0.7, "q4_K_M": 0.6, "q4_0": 0.7, "int8": 0.7}
"""Multiplications a second in reading a prompt over those of numpy's matrix product in float32."""


@dataclass(frozen=True, kw_only=True)
class Speed:
    """`bandwidth` in bytes a second, `flops` in float32 operations a second, both on `threads` threads."""

    bandwidth: float
    flops: float
    threads: int


def measure(threads: int | None = None) -> Speed:
    """Copies large arrays and multiplies matrices for about a second, on the threads that engines use."""
    used = threads or settings.load().threads
    return Speed(
        bandwidth=copying(used),
        flops=product(*PRODUCT, threads=used, seconds=SECONDS, of=min),
        threads=used,
    )


def copying(threads: int, *, seconds: float = SECONDS) -> float:
    """Bytes read and written a second, every thread copying an array of its own."""
    import numpy as np

    pairs = [(np.ones(COPIED, np.uint8), np.zeros(COPIED, np.uint8)) for _ in range(threads)]
    with ThreadPoolExecutor(threads) as pool:

        def once() -> None:
            list(pool.map(lambda pair: np.copyto(pair[1], pair[0]), pairs))

        return 2.0 * COPIED * threads / min(_passes(once, seconds))


def product(
    rows: int,
    inner: int,
    columns: int,
    *,
    threads: int,
    seconds: float = 0.1,
    of: Callable[[Sequence[float]], float] = fmean,
) -> float:
    """Float32 operations a second of a matrix product [rows, inner] × [inner, columns] on `threads` threads.

    `of` makes one time of those of all passes: their mean for what is about to run here and now.
    """
    import numpy as np

    left, right = np.ones((rows, inner), np.float32), np.ones((inner, columns), np.float32)
    share = min(1.0, threads / settings.physical_cores())
    return 2.0 * rows * inner * columns * share / of(_passes(lambda: left @ right, seconds))


def _passes(work: Callable[[], object], seconds: float) -> list[float]:
    """Seconds of as many passes as fit, at least one, after one that does not count."""
    work()
    end, taken = time.perf_counter() + seconds, list[float]()
    while not taken or time.perf_counter() < end:
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return taken


def decode(shape: Shape, form: Format, speed: Speed, *, context: int, active: int | None = None) -> float:
    """Tokens written a second by one sequence that already holds `context` tokens.

    `active` is the parameters that a token uses, where a mixture of experts has more.
    """
    share = (active or shape.parameters) / shape.parameters
    # Of two tables only the output's is read whole; the embedding gives one row.
    table = shape.vocab * shape.hidden * footprint.TABLE[form] * (footprint.tables(shape) - 1)
    read = (footprint.weights(shape, form) - table) * share + footprint.cache(shape, context)
    spent = read / (READ * speed.bandwidth) + shape.layers * LAYER_SECONDS + TOKEN_SECONDS
    return 1.0 / spent


def prefill(shape: Shape, form: Format, speed: Speed, *, tokens: int, active: int | None = None) -> float:
    """Tokens read a second of a prompt of `tokens` tokens."""
    body = shape.linear - (shape.parameters - (active or shape.parameters))
    attention = 2 * shape.layers * shape.heads * shape.head_dim * tokens
    work = tokens * (2 * body + attention) + 2 * shape.vocab * shape.hidden
    spent = work / (MULTIPLIED[form] * speed.flops)
    spent += shape.layers * LAYER_SECONDS * -(-tokens // footprint.BATCH) + TOKEN_SECONDS
    return tokens / spent
