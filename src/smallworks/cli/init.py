"""`smallworks init`: write a new task folder."""

from __future__ import annotations

from pathlib import Path

from smallworks.cli import talk
from smallworks.recipes.init import init as write
from smallworks.types import Kind


def init(folder: Path, /, *, kind: Kind = "classify", force: bool = False) -> None:
    """Write a commented task.toml and a place for the data.

    Parameters
    ----------
    folder
        The new task's folder.
    kind
        What the task does.
    force
        Replace a task.toml that is already there.
    """
    path = write(folder, kind, force=force)
    talk.out.print(str(path), highlight=False, soft_wrap=True)
    talk.remark(f"Next: put rows into {folder}/data, then run: smallworks build {folder}")
