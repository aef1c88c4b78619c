"""Every smaller form that this machine can make of a tuned starter, on one table, with what it costs.

Measured: `smallworks build --only lm-lora` on the sample tickets and, where it is at hand, `--only lm-full`
on a part of Banking77, both for EPOCHS epochs; then `smallworks quantize` of the tuned bundle into every
format that runs here, on at most ROWS rows: size, peak memory, tokens read and written a second, paired
change of the metric with its interval, flips, mean and 99th-percentile divergence. `--rows N` takes at most
N training and N test rows of each task. Against: the unquantised bundle on the same rows. What is built and
measured is kept in the cache, so that a run which was broken off goes on, and a second one repeats the
table. Not covered: K-quants without llama-quantize, GPTQ, AWQ and W8A8 without llmcompressor's environment,
GPUs, larger models.
"""

from __future__ import annotations

import csv
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.claim import Finding, Say, Skipped
from benchmarks.command import smallworks
from benchmarks.shared import banking77_task
from smallworks import settings, starter
from smallworks.bundle.manifest import BESIDE
from smallworks.recipes.formats import here_now

UNIT = "points that q8_0 loses on the tickets, as a share"
GOAL = "q8_0 loses ≤ 0.005 on each task and is smaller than half of the bundle"
MOST_LOST, MOST_SIZE = 0.005, 0.5
LIKE_OTHERS = ("f32", "bf16")
"""Formats that are left out: their rows would tell what the one of f16 does."""
BESIDE_TOO = "adapter-q8_0"
"""The one form of an adapter beside its base; the others differ from it as their GGUF kinds do."""
ROWS = {"train": 770, "test": 240}
EPOCHS = 3
"""Enough to be far from chance, so that a form has something to lose; a build would take up to ten."""
LIMIT = "SMALLWORKS_QUANTISED_ROWS"


def measure(say: Say) -> Finding:
    folder = settings.load().home / "benchmarks" / "quantised"
    folder.mkdir(parents=True, exist_ok=True)
    tables = {"tickets": _table(_tickets(folder), "lm-lora", folder, say)}
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
    formats = ",".join(_formats(candidate))
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


def _formats(candidate: str) -> list[str]:
    """What runs here; whole weights have no adapter to keep apart."""
    beside = (BESIDE_TOO,) if candidate == "lm-lora" else ()
    return [f for f in here_now() if f not in LIKE_OTHERS and (not f.startswith(BESIDE) or f in beside)]


def _tickets(folder: Path) -> Path:
    task = folder / "tickets"
    shutil.rmtree(task, ignore_errors=True)
    shutil.copytree(starter.TASKS["tickets"], task)
    return _cut(task)


def _banking77(folder: Path) -> Path:
    task = folder / "banking77"
    shutil.rmtree(task, ignore_errors=True)
    return _cut(banking77_task(task))


def _cut(task: Path) -> Path:
    """The task over at most ROWS of its rows, and for EPOCHS; the same rows in every run.

    Test rows of a label that no training row has are left out.
    """
    limit, known = os.environ.get(LIMIT), set[str]()
    for part, most in ROWS.items():
        path = task / f"{part}.csv"
        with path.open(encoding="utf-8", newline="") as file:
            head, *rows = list(csv.reader(file))
        rows = [row for row in rows if not known or row[1] in known]
        kept = _spread(rows, min(most, int(limit)) if limit else most)
        known |= {row[1] for row in kept}
        with path.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([head, *kept])
    with (task / "task.toml").open("a", encoding="utf-8") as file:
        file.write(f"\n[build]\nepochs = {EPOCHS}\n")
    return task


def _spread(rows: Sequence[list[str]], most: int) -> list[list[str]]:
    """Rows evenly from the whole file, where those of one label may stand together."""
    if len(rows) <= most:
        return list(rows)
    return [rows[at * len(rows) // most] for at in range(most)]
