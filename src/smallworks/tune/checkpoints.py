"""Checkpoints of a running training: which are whole, which is last, which is to be thrown away.

A checkpoint counts once its marker is written, which is the last thing done: a kill in the middle of
saving leaves a folder without one. Knows nothing of what a checkpoint holds.
"""

from __future__ import annotations

import shutil
from pathlib import Path

MARKER = "complete"


def at(folder: Path, step: int) -> Path:
    return folder / f"checkpoint-{step}"


def mark(folder: Path, step: int) -> None:
    (at(folder, step) / MARKER).touch()


def last(folder: Path) -> Path | None:
    """The whole checkpoint with the most steps; the halves are deleted."""
    whole: list[tuple[int, Path]] = []
    for found in folder.glob("checkpoint-*"):
        if (found / MARKER).exists():
            whole.append((int(found.name.split("-")[1]), found))
        else:
            shutil.rmtree(found)
    return max(whole)[1] if whole else None
