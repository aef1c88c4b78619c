"""Smallworks: graduate a narrow task from a flagship LLM to a small model you own, and prove it.

    import smallworks as sw
    task = sw.load_task("tickets")
    table = sw.build(task)
    model = sw.load(table.chosen)
    model("The export button does nothing when I click it.")

Importing this loads none of the heavy libraries; each is loaded by what needs it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from smallworks.engines.predictor import Predictor
    from smallworks.recipes.build import Options
    from smallworks.seams import Progress
    from smallworks.types import Table, Task

__version__ = "0.1.0"
__all__ = ["build", "load", "load_task"]


def load_task(where: str | Path) -> Task:
    """The task of a folder or a task.toml; or a sample task by its name, e.g. 'tickets'."""
    from smallworks import starter, taskfile

    path = Path(where).expanduser()
    if not path.exists() and str(where) in starter.TASKS:
        path = starter.TASKS[str(where)]
    return taskfile.load_task(path)


def build(task: Task, options: Options | None = None, *, progress: Progress | None = None) -> Table:
    """Measure every sensible way of doing the task, choose one, freeze it, report.

    A sample task is laid out and built in `./smallworks-<name>`, never inside the installed package.
    """
    from smallworks import starter
    from smallworks.recipes import build as journey
    from smallworks.recipes.sample import lay_out
    from smallworks.seams import silent

    if task.folder in starter.TASKS.values():
        task = lay_out(task.name, Path.cwd() / f"smallworks-{task.name}")
    return journey.build(task, options or journey.Options(), progress=progress or silent)


def load(bundle: str | Path | None, *, threads: int | None = None) -> Predictor:
    """A bundle that answers: `load(path)("text")`. Raises BundleError when a file is not as frozen."""
    from smallworks.engines.opening import open_bundle
    from smallworks.errors import BundleError

    if bundle is None:
        raise BundleError("This table chose no bundle.", fix="Read table.why for the reason.")
    return open_bundle(bundle, threads=threads)
