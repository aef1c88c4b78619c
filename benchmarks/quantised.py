"""Every smaller form that this machine can make of a tuned starter, on one table, with what it costs.

Measured: `smallworks build --only lm-lora` on the sample tickets and, where it is at hand, `--only lm-full`
on a part of Banking77 (ROWS training and test rows a label); then `smallworks quantize` of the tuned bundle
into every format that runs here: size, peak memory, tokens read and written a second, paired change of the
metric with its interval, flips, mean and 99th-percentile divergence. Against: the unquantised bundle on the
same rows. What is built and measured is kept in the cache, so that a run which was broken off goes on, and a
second one repeats the table. Not covered: K-quants without llama-quantize, GPTQ, AWQ, W8A8, GPUs, larger
models.
"""

from __future__ import annotations

import csv
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.claim import Finding, Say, Skipped
from benchmarks.command import smallworks
from benchmarks.shared import banking77_task
from smallworks import settings, starter
from smallworks.recipes.formats import here_now

UNIT = "points that q8_0 loses on the tickets, as a share"
GOAL = "q8_0 loses ≤ 0.005 on each task and is smaller than half of the bundle"
MOST_LOST, MOST_SIZE = 0.005, 0.5
LIKE_F16 = ("f32", "bf16")
"""Formats that are left out: their rows would tell what the one of f16 does."""
ROWS = {"train": 10, "test": 5}


def measure(say: Say) -> Finding:
    folder = settings.load().home / "benchmarks" / "quantised"
    folder.mkdir(parents=True, exist_ok=True)
    tables = {"tickets": _table(starter.TASKS["tickets"], "lm-lora", folder, say)}
    try:
        tables["banking77"] = _table(_banking77(folder), "lm-full", folder, say)
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
    formats = ",".join(format for format in here_now() if format not in LIKE_F16)
    made = smallworks("quantize", bundle, "--task", task, "--to", formats, "--json", folder=folder).json()
    say(f"{task.name}, {candidate}, {made['forms'][0]['metric']['n']} test rows")
    for form in made["forms"]:
        say(_line(form))
    return {form["format"]: form for form in made["forms"]}


def _line(form: dict[str, Any]) -> str:
    """One row of a Markdown table: sizes in MB, speeds in tokens a second, divergence in nats."""
    cells = [form["format"], f"{form['bytes'] / 1e6:.1f}", f"{form['peak_memory_bytes'] / 1e6:.0f}"]
    cells += [f"{form['prefill']:.0f}", f"{form['decode']:.0f}" if form["decode"] else "–"]
    cells.append(f"{form['metric']['value']:.3f}")
    if form["change"]:
        d, kl = form["change"]["difference"], form["divergence"]
        cells.append(f"{d['value']:+.3f} [{d['low']:+.3f}, {d['high']:+.3f}]")
        cells += [f"{form['flipped']['value']:.1%}", f"{kl['mean']:.1e}", f"{kl['p99']:.1e}"]
        cells.append(form["verdict"]["outcome"])
    return f"| {' | '.join(cells)} |"


def _banking77(folder: Path) -> Path:
    """The task over the first ROWS of every label, written anew: the same rows in every run."""
    task = folder / "banking77"
    shutil.rmtree(task, ignore_errors=True)
    banking77_task(task)
    for part, most in ROWS.items():
        with (task / f"{part}.csv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        seen: Counter[str] = Counter()
        kept = []
        for row in rows:
            seen[row["category"]] += 1
            if seen[row["category"]] <= most:
                kept.append(row)
        with (task / f"{part}.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, ["text", "category"])
            writer.writeheader()
            writer.writerows(kept)
    return task
