"""A million short rows are cleaned in minutes, and every planted fault is found.

Measured: wall time and peak memory of `smallworks data clean --mask` on 1,000,000 made-up rows of 4 to 16
words (every fiftieth with an e-mail address or a phone number), in a process of its own; the share of planted
faults (1,000 each of exact repeats, repeats but for case and marks, leaks of a test file, texts with a second
label) that are told by their row. No peer. Not covered: long texts, rows made from one template (slower),
other languages, faults that nobody planted.
"""

from __future__ import annotations

import csv
import json
import random
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.claim import Finding, Say
from benchmarks.command import watched

UNIT = "s"
GOAL = "≤ 300 s, ≤ 2 GB, all planted faults found"
MOST_SECONDS, MOST_BYTES = 300.0, 2e9
ROWS, PLANTED, HELD_OUT, LABELS = 1_000_000, 1_000, 5_000, 20
FAULTS = ("identical", "near", "leak", "conflict")
TASK = """\
[task]
name = "made-up"
kind = "classify"
instruction = "Name the label."
[data]
train = "train.csv"
test = "test.csv"
"""


def measure(say: Say) -> Finding:
    with tempfile.TemporaryDirectory(prefix="smallworks-") as scratch:
        folder = Path(scratch)
        planted = _write(folder)
        seconds, peak, told = _run(folder)
        shares = {fault: _share(planted[fault], _told(folder, told, fault)) for fault in FAULTS}
    say(f"{seconds:.0f} s, {peak / 1e9:.2f} GB; found {shares}; kept {told['kept']:,} rows")
    return Finding(
        value=round(seconds, 1),
        holds=seconds <= MOST_SECONDS and peak <= MOST_BYTES and min(shares.values()) == 1,
        details={
            "rows": told["rows"],
            "peak_memory_bytes": peak,
            "found": shares,
            "reasons": told["reasons"],
        },
    )


def _write(folder: Path) -> dict[str, set[int]]:
    """The task with its rows; which row numbers carry which planted fault."""
    draw = random.Random(0)
    words = ["".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=draw.randint(2, 9))) for _ in range(20_000)]
    (folder / "task.toml").write_text(TASK, encoding="utf-8")
    held_out = [(_text(draw, words), f"label {at % LABELS}") for at in range(HELD_OUT)]
    planted: dict[str, set[int]] = {fault: set() for fault in FAULTS}
    with (folder / "train.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(("text", "label"))
        for number, (text, label, fault) in enumerate(_rows(draw, words, held_out), 1):
            table.writerow((text, label))
            if fault:
                planted[fault].add(number)
    with (folder / "test.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *held_out])
    return planted


def _rows(
    draw: random.Random, words: list[str], held_out: list[tuple[str, str]]
) -> Iterator[tuple[str, str, str]]:
    """Text, label and planted fault of each row; a fault is planted in a copy of one of the first rows."""
    spared = ROWS - len(FAULTS) * PLANTED
    originals = []
    for at in range(spared):
        text, label = _text(draw, words, at), f"label {draw.randrange(LABELS)}"
        if at % 50 and len(originals) < len(FAULTS) * PLANTED:
            originals.append((text, label))
        yield text, label, ""
    for at, (text, label) in enumerate(originals):
        fault = FAULTS[at % len(FAULTS)]
        if fault == "near":
            text = f"  {text.upper()} !"
        elif fault == "leak":
            text, label = held_out[at % len(held_out)]
        elif fault == "conflict":
            label = "another label"
        yield text, label, fault


def _text(draw: random.Random, words: list[str], at: int = 1) -> str:
    text = " ".join(draw.choices(words, k=draw.randint(4, 16)))
    if at % 100 == 0:
        return f"{text} write to {draw.choice(words)}{at}@{draw.choice(words)}.example"
    return f"{text} call 020 7946 {at % 10_000:04d}" if at % 50 == 0 else text


def _run(folder: Path) -> tuple[float, float, dict[str, Any]]:
    """Seconds, peak resident bytes of the command, and the JSON that it printed."""
    ran, peak = watched(("data", "clean", ".", "--out", "kept.csv", "--mask", "--json"), folder)
    return ran.seconds, float(peak), ran.json()


def _told(folder: Path, told: dict[str, Any], fault: str) -> set[int]:
    if fault == "conflict":
        return {row for notice in told["notices"] if notice["code"] == fault for row in notice["rows"]}
    with (folder / "kept.csv.removed.jsonl").open(encoding="utf-8") as file:
        return {removal["row"] for removal in map(json.loads, file) if removal["reason"] == fault}


def _share(planted: set[int], told: set[int]) -> float:
    return round(len(planted & told) / len(planted), 4)
