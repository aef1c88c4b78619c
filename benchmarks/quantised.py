"""Every smaller form that this machine can make of a tuned starter, on one table, with what it costs.

Measured: `smallworks build --only lm-lora` on the sample tickets and, where it is at hand, `--only lm-full`
on Banking77; then `smallworks quantize` of the tuned bundle into f16, q8_0, q4_0: size, peak memory, tokens
read and written a second, paired change of the metric with its interval, flips, mean and 99th-percentile
divergence. Against: the unquantised bundle on the same rows. Not covered: K-quants without llama-quantize,
4-bit and 8-bit formats that need a GPU, larger models.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.claim import Finding, Say, Skipped
from benchmarks.command import smallworks
from benchmarks.shared import banking77_task
from smallworks import starter

UNIT = "points that q8_0 loses on the tickets, as a share"
GOAL = "q8_0 loses ≤ 0.005 on each task and is smaller than half of the bundle"
MOST_LOST, MOST_SIZE = 0.005, 0.5
FORMATS = "f16,q8_0,q4_0"


def measure(say: Say) -> Finding:
    with tempfile.TemporaryDirectory(prefix="smallworks-") as scratch:
        folder = Path(scratch)
        tables = {"tickets": _table(starter.TASKS["tickets"], "lm-lora", folder, say)}
        try:
            tables["banking77"] = _table(banking77_task(folder / "banking77"), "lm-full", folder, say)
        except Skipped as reason:
            say(str(reason))
    lost = {name: -rows["q8_0"]["change"]["difference"]["value"] for name, rows in tables.items()}
    sizes = [rows["q8_0"]["bytes"] / rows["as it is"]["bytes"] for rows in tables.values()]
    return Finding(
        value=round(lost["tickets"], 4),
        holds=max(lost.values()) <= MOST_LOST and max(sizes) < MOST_SIZE,
        against={"name": "the unquantised bundle, same rows", "lost": lost},
        details=tables,
    )


def _table(task: Path, candidate: str, folder: Path, say: Say) -> dict[str, Any]:
    """The forms of one tuned bundle by format, as `smallworks quantize --json` tells them."""
    out = folder / f"{task.name}-built"
    built = smallworks("build", task, "--only", candidate, "--out", out, "--json", folder=folder).json()
    bundle = built["candidates"][0]["bundle"]
    made = smallworks("quantize", bundle, "--task", task, "--to", FORMATS, "--json", folder=folder).json()
    rows = {form["format"]: form for form in made["forms"]}
    say(f"{task.name}: " + json.dumps({name: form["metric"]["value"] for name, form in rows.items()}))
    return rows
