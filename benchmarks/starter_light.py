"""The starter is a download of a second, and its first word comes at once.

Measured: bytes of the model's folder in the package; time from sending a message to the first piece of the
answer, in `smallworks chat`'s own engine, for short messages after it is ready (conversion to GGUF and
the loading are reported apart). No peer: the bar is absolute.
Not covered: slower machines.
"""

from __future__ import annotations

import tempfile
import time
from statistics import median
from unittest import mock

from benchmarks.claim import Finding, Say
from smallworks import starter
from smallworks.engines.predictor import Predictor
from smallworks.recipes.converse import open_model
from smallworks.types import Message, Sampling

UNIT = "s to the first piece of an answer, the slowest"
GOAL = "folder ≤ 40 MB; first piece ≤ 0.3 s"
MOST_BYTES, MOST_SECONDS = 40e6, 0.3
MESSAGES = ("Hello, who are you?", "What is the capital of France?", "Write a short story about a river.")


def measure(say: Say) -> Finding:
    size = sum(path.stat().st_size for path in starter.MODEL.iterdir())
    with (
        tempfile.TemporaryDirectory(prefix="smallworks-") as home,
        mock.patch.dict("os.environ", {"SMALLWORKS_HOME": home}),
    ):
        began = time.perf_counter()
        predictor = open_model(None)
        ready = time.perf_counter() - began
        with predictor:
            waits = [_first(predictor, text) for text in MESSAGES for _ in range(3)]
    say(f"{size / 1e6:.1f} MB; ready after {ready:.2f} s; first piece {median(waits):.3f} s at the median")
    return Finding(
        value=round(max(waits), 4),
        holds=size <= MOST_BYTES and max(waits) <= MOST_SECONDS,
        details={"bytes": size, "ready_seconds": round(ready, 2), "median": round(median(waits), 4)},
    )


def _first(predictor: Predictor, text: str) -> float:
    """Seconds until there is something to read."""
    start = time.perf_counter()
    for chunk in predictor.chat([Message(role="user", content=text)], Sampling(max_tokens=8)):
        if chunk.text:
            return time.perf_counter() - start
    return float("inf")  # it said nothing
