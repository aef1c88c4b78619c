"""Percentiles of measured times. Knows nothing of what was timed."""

from __future__ import annotations

import math
from collections.abc import Sequence

from smallworks.errors import DataError
from smallworks.types import Latency


def percentile(values: Sequence[float], q: float) -> float:
    """Nearest rank: the smallest measured value that at least a share `q` (0–1] of them does not exceed.

    No interpolation, so that a p99 is a time some request really took.
    """
    return sorted(values)[max(0, math.ceil(q * len(values) - 1e-9) - 1)]


def latency(ms: Sequence[float], *, rows: int, seconds: float) -> Latency:
    """From milliseconds per request at batch 1, and `rows` answered in `seconds` in batches."""
    if not ms:
        raise DataError("No request was timed.", fix="Give a test set with at least one row.")
    return Latency(
        p50=percentile(ms, 0.50),
        p95=percentile(ms, 0.95),
        p99=percentile(ms, 0.99),
        n=len(ms),
        rows_per_second=rows / seconds if seconds > 0 else 0.0,
    )
