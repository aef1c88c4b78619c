"""A finished build, run again, answers at once and recomputes nothing.

Measured: the second `smallworks build` of the sample task over one baseline and one language model, wall time
of the whole process (median of 5); every file of the build must keep its time stamp, and all JSON
documents must be equal. Against: the first build. Not covered: builds whose inputs changed.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarks.claim import Finding, Say
from benchmarks.command import Ran, smallworks
from benchmarks.timing import median

UNIT = "s"
GOAL = "≤ 2 s, nothing recomputed"
MOST = 2.0
ROUNDS = 5


def measure(say: Say) -> Finding:
    with tempfile.TemporaryDirectory(prefix="smallworks-") as scratch:
        folder = Path(scratch)
        first = _build(folder)
        document, stamps = first.json(), _stamps(folder / "out")
        say(f"first build {first.seconds:.1f} s, {len(stamps)} files")
        again = [_build(folder) for _ in range(ROUNDS)]
        after = _stamps(folder / "out")
        changed = sorted(n for n in stamps.keys() | after.keys() if stamps.get(n) != after.get(n))
        equal = all(ran.json() == document for ran in again)
    seconds = median([ran.seconds for ran in again])
    say(f"again {seconds:.2f} s, files touched: {changed or 'none'}, same document: {equal}")
    return Finding(
        value=round(seconds, 2),
        holds=seconds <= MOST and not changed and equal,
        against={"name": "the first build", "seconds": round(first.seconds, 1), "steps": document["seconds"]},
        details={"files": len(stamps), "touched": changed, "same_document": equal},
    )


def _build(folder: Path) -> Ran:
    names = "majority,linear,lm-zero-q8_0"
    return smallworks("build", "tickets", "--only", names, "--out", "out", "--json", folder=folder)


def _stamps(folder: Path) -> dict[str, int]:
    return {str(p.relative_to(folder)): p.stat().st_mtime_ns for p in folder.rglob("*") if p.is_file()}
