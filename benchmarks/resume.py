"""A tuning that was killed goes on where it stopped, and ends with the same adapter, bit for bit.

Measured: `smallworks build --only lm-lora` over 240 tickets, killed with SIGKILL (its child too) once its
first checkpoint is on disk, then run again. Against: the adapter's SHA-256 in a build that nobody disturbed.
Not covered: kills at every possible step, GPUs, another machine or thread count.
"""

from __future__ import annotations

import csv
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.claim import Finding, Say
from benchmarks.command import SMALLWORKS, environment, smallworks
from smallworks import files, starter

UNIT = "same adapter (1 yes, 0 no)"
GOAL = "the adapter's SHA-256 equals that of an undisturbed run"
ROWS = 240
LONGEST_WAIT = 900.0


def measure(say: Say) -> Finding:
    with tempfile.TemporaryDirectory(prefix="smallworks-") as scratch:
        folder = Path(scratch)
        for name in ("calm", "killed"):
            _task(folder / name)
        calm = _build(folder, "calm")
        say(f"undisturbed: {calm['sha256'][:16]}…, {calm['steps']} steps, {calm['seconds']:.0f} s")
        killed_at = _kill_in_the_middle(folder)
        again = _build(folder, "killed")
        say(f"killed after {killed_at}: {again['sha256'][:16]}…, {again['seconds']:.0f} s")
    same = calm["sha256"] == again["sha256"]
    return Finding(
        value=float(same),
        holds=same and again["resumed"],
        against={"name": "an undisturbed run", "sha256": calm["sha256"]},
        details={
            "sha256": again["sha256"],
            "killed_after": killed_at,
            "resumed": again["resumed"],
            "steps": again["steps"],
            "seconds": {"calm": round(calm["seconds"], 1), "after the kill": round(again["seconds"], 1)},
        },
    )


def _task(folder: Path) -> None:
    """The sample task with fewer rows."""
    source = starter.TASKS["tickets"]
    folder.mkdir()
    shutil.copyfile(source / "task.toml", folder / "task.toml")
    shutil.copyfile(source / "flagship.jsonl", folder / "flagship.jsonl")
    for name, rows in (("train.csv", ROWS), ("test.csv", ROWS // 4)):
        with (source / name).open(encoding="utf-8", newline="") as file:
            head, *whole = csv.reader(file)
        with (folder / name).open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([head, *whole[:: len(whole) // rows][:rows]])


def _build(folder: Path, task: str) -> dict[str, Any]:
    """Build to the end; what the tuning left in its result."""
    smallworks("build", task, "--only", "lm-lora", "--json", folder=folder).json()
    (result,) = (folder / task).glob(".smallworks/steps/tune-*/tuned/result.json")
    found: dict[str, Any] = files.read_json(result)
    return found


def _kill_in_the_middle(folder: Path) -> str:
    """Start the build, wait for a whole checkpoint, kill it and its child; the checkpoint's name."""
    command = [*SMALLWORKS, "build", "killed", "--only", "lm-lora"]
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=environment(folder / ".cache"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + LONGEST_WAIT
    try:
        while time.monotonic() < deadline and process.poll() is None:
            whole = list((folder / "killed").glob(".smallworks/steps/tune-*/tuned/checkpoints/*/complete"))
            if whole:
                time.sleep(1.0)  # into the steps after it
                return max(whole).parent.name
            time.sleep(0.05)
        raise RuntimeError("the build ended, or took too long, before its first checkpoint")
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
