"""What `smallworks recommend` reckons with is what happens: memory, tokens written, tokens read.

Measured: peak resident memory of a process of its own that answers, tokens a second of a 512-token prompt
and of an answer, for the starter and a Llama of SmolLM2-135M's shape (random weights), as f16, q8_0 and q4_0;
peak memory of a LoRA tuning of the starter. Tokens are counted by CPU seconds of one thread, so that a busy
machine can measure. Against: `engines.footprint`, and `engines.speed` with this machine's own bandwidth and
multiplication, measured in the same way beside each. Not covered: larger models (0.5B and up: too slow here;
tests/engines/test_speed.py has figures of an earlier run), several threads, q4_K_M (no llama-quantize), int8
encoders, several requests at once, GPUs, the time of a tuning.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import random_llama
from benchmarks.claim import Finding, Say, Skipped
from benchmarks.shared import ROOT, shared
from smallworks import compress, starter, tune
from smallworks.engines import footprint, shape, speed
from smallworks.engines.footprint import Format
from smallworks.engines.speed import Speed
from smallworks.prompt import TrainingRow

UNIT = "largest estimate over measurement of peak memory, or measurement over estimate"
GOAL = "memory within 15 %, tokens written and read a second within 30 %"
MOST = {"memory": 1.15, "decode": 1.30, "prefill": 1.30}
FORMS: tuple[Format, ...] = ("f16", "q8_0", "q4_0")
CONTEXT, PROMPT, BEFORE, ANSWER = 640, 512, 8, 32
END, PAD = 2, 3


def measure(say: Say) -> Finding:
    with tempfile.TemporaryDirectory(prefix="smallworks-") as scratch:
        rows = dict(_served(Path(scratch), say))
        rows["starter LoRA"] = _tuned(Path(scratch))
        say(f"starter LoRA: {json.dumps(rows['starter LoRA'])}")
    off = {part: max(_apart(row[part]) for row in rows.values() if part in row) for part in MOST}
    return Finding(
        value=round(off["memory"], 3),
        holds=all(off[part] <= most for part, most in MOST.items()),
        against={"name": "measurement in the same run", "largest ratio": off},
        details=rows,
    )


def _apart(pair: Mapping[str, float]) -> float:
    ratio = pair["estimated"] / pair["measured"]
    return round(max(ratio, 1 / ratio), 3)


def _served(scratch: Path, say: Say) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each model in each format: estimated and measured."""
    for name, folder in _models(scratch, say):
        facts = shape.read(folder)
        for form in FORMS:
            path = compress.quantize(folder, scratch / f"{name}-{form}.gguf", form)  # type: ignore[arg-type]
            told, fast = _probe(_asked(path, facts.vocab)), Speed(**_probe({}))  # type: ignore[arg-type]
            row = {
                "memory": footprint.serving(facts, form, context=CONTEXT).total,
                "decode": speed.decode(facts, form, fast, context=BEFORE + ANSWER // 2),
                "prefill": speed.prefill(facts, form, fast, tokens=PROMPT),
            }
            found = {part: {"estimated": round(row[part]), "measured": round(told[part])} for part in row}
            say(f"{name} {form}: {json.dumps(found)}")
            yield f"{name} {form}", {**found, "bandwidth": round(fast.bandwidth), "flops": round(fast.flops)}


def _models(scratch: Path, say: Say) -> Iterator[tuple[str, Path]]:
    yield "starter", starter.MODEL
    try:
        words = shared("fixtures/tok-smollm2")
    except Skipped as reason:
        say(str(reason))
        return
    yield "135M", random_llama.make(scratch / "model", words)


def _asked(path: Path, vocab: int) -> dict[str, Any]:
    lengths = {"context": CONTEXT, "prompt": PROMPT, "before": BEFORE, "answer": ANSWER}
    return {"path": str(path), "vocab": vocab, **lengths}


def _probe(asked: Mapping[str, Any]) -> dict[str, float]:
    """`benchmarks.estimates_probe` in a process of its own, on one thread."""
    one = {**os.environ, "SMALLWORKS_THREADS": "1", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "benchmarks.estimates_probe", json.dumps(asked)]
    done = subprocess.run(command, cwd=ROOT, env=one, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(done.stderr[-2000:])
    told: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return told


def _tuned(scratch: Path) -> dict[str, Any]:
    """A LoRA tuning of the starter, short: its peak memory against the formula's."""
    random = np.random.default_rng(0)
    rows = []
    for _ in range(64):
        prompt = random.integers(100, 4000, 120).tolist()
        rows.append(TrainingRow(ids=(*prompt, 40, END), supervised=(False,) * 120 + (True, True)))
    options = tune.TuneOptions(end_id=END, pad_id=PAD, learning_rate=1e-4, epochs=1, batch_size=8)
    request = tune.TuneRequest(
        base=starter.MODEL,
        out=scratch / "tuned",
        train=tuple(rows[8:]),
        validation=tuple(rows[:8]),
        options=options,
    )
    done = tune.fit(request)
    return {"memory": {"estimated": done.estimate.memory_bytes, "measured": done.peak_memory_bytes}}
