"""The whole test suite runs in minutes.

Measured: wall time of `python -m pytest` on every core, which is what `make test` runs after its set-up; how
many tests passed, failed and were skipped. No peer. Not covered: the set-up itself.
"""

from __future__ import annotations

import re
import subprocess
import sys
import time

from benchmarks.claim import Finding, Say
from benchmarks.shared import ROOT

UNIT = "s"
GOAL = "≤ 360 s, every test passes"
MOST = 360.0
PARALLEL = ("--numprocesses", "auto", "--maxprocesses", "4", "--dist", "loadfile", "--no-loadscope-reorder")


def measure(say: Say) -> Finding:
    start = time.perf_counter()
    command = [sys.executable, "-m", "pytest", *PARALLEL, "--durations=10"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - start
    lines = done.stdout.splitlines()
    last = lines[-1] if lines else done.stderr[-300:]
    say(f"exit {done.returncode}: {last}")
    counts = {kind: int(n) for n, kind in re.findall(r"(\d+) (passed|failed|skipped|error)", last)}
    return Finding(
        value=round(seconds, 1),
        holds=seconds <= MOST and done.returncode == 0,
        details={**counts, "exit": done.returncode, "slowest": [li for li in lines if " call " in li][:10]},
    )
