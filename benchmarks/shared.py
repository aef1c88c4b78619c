"""Real data beside the repository: `../shared`, or SMALLWORKS_SHARED; without them a claim is skipped."""

from __future__ import annotations

import csv
import os
import shutil
from pathlib import Path

from benchmarks.claim import Skipped

ROOT = Path(__file__).parents[1]
BANKING77 = """\
[task]
name = "banking77"
kind = "classify"
instruction = "Name the intent of the customer's message."
[data]
train = "train.csv"
test = "test.csv"
input = "text"
output = "category"
[targets]
metric = "accuracy"
at_least = 0.90
"""


def shared(part: str) -> Path:
    """A folder of the shared data."""
    path = Path(os.environ.get("SMALLWORKS_SHARED", ROOT.parent / "shared")) / part
    if not path.is_dir():
        raise Skipped(f"the shared data are absent: no folder at '{path}' (set SMALLWORKS_SHARED)")
    return path


def banking77_task(folder: Path, epochs: int | None = None) -> Path:
    """A user's task folder over the full train and test files of Banking77, tuned for so many epochs."""
    source = shared("data/banking77")
    folder.mkdir(parents=True)
    for name in ("train.csv", "test.csv"):
        shutil.copyfile(source / name, folder / name)
    asked = f"\n[build]\nepochs = {epochs}\n" if epochs else ""
    (folder / "task.toml").write_text(BANKING77 + asked, encoding="utf-8")
    return folder


def read_csv(path: Path, *columns: str) -> list[tuple[str, ...]]:
    with path.open(encoding="utf-8", newline="") as file:
        return [tuple(row[c] for c in columns) for row in csv.DictReader(file)]
