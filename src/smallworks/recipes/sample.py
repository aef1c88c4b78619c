"""Lay out a sample task as a user's own folder, so that a demonstration is the user's own journey."""

from __future__ import annotations

import shutil
from pathlib import Path

from smallworks import starter, taskfile
from smallworks.errors import TaskError, nearest
from smallworks.types import Task


def lay_out(name: str, folder: Path) -> Task:
    """Copy a sample task's files to `folder` (files already there are kept) and load it."""
    if name not in starter.TASKS:
        raise TaskError(f"There is no sample task '{name}'.", fix=nearest(name, starter.TASKS))
    folder.mkdir(parents=True, exist_ok=True)
    for source in sorted(starter.TASKS[name].iterdir()):
        target = folder / source.name
        if source.is_file() and not target.exists():
            shutil.copyfile(source, target)
    return taskfile.load_task(folder)
