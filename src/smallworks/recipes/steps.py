"""Steps keyed by the hash of what they read: done ones are reused, broken-off ones resume, all are timed.

A step's folder is `<name>-<key>`; `done.json` in it is written last and atomically, so its presence
means that the step ended well. Knows nothing of what a step does.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from smallworks import files
from smallworks.seams import Progress

VERSION = 2
"""Raise it when a step's meaning changes, so that old results are not reused."""


@dataclass
class Steps:
    """`seconds` holds the time that each step of this journey took when it was last computed."""

    folder: Path
    progress: Progress
    seconds: dict[str, float] = field(default_factory=dict)

    def run(self, name: str, reads: Mapping[str, Any], work: Callable[[Path], Any]) -> Any:
        """The step's JSON result: read back when it was done before with the same inputs, else computed."""
        folder = self.folder_of(name, reads)
        done = folder / "done.json"
        if not done.exists():
            folder.mkdir(parents=True, exist_ok=True)
            self.progress(name, 0, 0, "")
            start = time.perf_counter()
            result = work(folder)
            files.write_json(done, {"seconds": time.perf_counter() - start, "reads": reads, "result": result})
            self.progress(name, 1, 1, "done")
        saved = files.read_json(done)
        self.seconds[name] = saved["seconds"]
        return saved["result"]

    def forget(self, name: str, reads: Mapping[str, Any]) -> None:
        """Do this step again when it is run next: what it made is gone."""
        (self.folder_of(name, reads) / "done.json").unlink(missing_ok=True)

    def folder_of(self, name: str, reads: Mapping[str, Any]) -> Path:
        """Where a step with these inputs keeps its files."""
        return self.folder / f"{name}-{files.hash_value([VERSION, name, reads])[:12]}"
