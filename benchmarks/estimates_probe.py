"""One thing in a process of its own, in CPU seconds of one thread: the machine's speed, or a GGUF file's.

For `estimates`, which sets the threads. CPU time is that of a quiet machine, but for what neighbours take of
caches and of memory's bandwidth.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np

from smallworks.child import peak_memory
from smallworks.engines import speed
from smallworks.engines.llamacpp import LlamaCpp
from smallworks.types import Prompt, Sampling

PASSES = 3
"""The fastest counts."""


def main(asked: dict[str, Any]) -> dict[str, float]:
    if "path" not in asked:
        return asdict(speed.measure(1, clock=process_time))
    random = np.random.default_rng(0)
    model = LlamaCpp(Path(asked["path"]), context=asked["context"], slots=1)

    def seconds(length: int, tokens: int) -> tuple[float, int]:
        """Prompts differ from their first token on, so that nothing of an earlier one is kept."""
        prompt = Prompt(text="", ids=tuple(random.integers(100, asked["vocab"] - 100, length).tolist()))
        start = process_time()
        done = model.generate(prompt, Sampling(max_tokens=tokens))
        return process_time() - start, done.tokens_out

    read = min(seconds(asked["prompt"], 1)[0] for _ in range(PASSES))
    first = min(seconds(asked["before"], 1)[0] for _ in range(PASSES))
    written = [seconds(asked["before"], asked["answer"]) for _ in range(PASSES)]
    each = min((spent - first) / (tokens - 1) for spent, tokens in written if tokens > 8)
    model.close()
    return {"memory": peak_memory(), "prefill": asked["prompt"] / read, "decode": 1 / each}


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]))))
