"""Run the command line as a user does: a process of its own, offline, with a cache of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SMALLWORKS = (sys.executable, "-m", "smallworks.cli")
KEPT = ("SMALLWORKS_THREADS", "SMALLWORKS_LLMCOMPRESSOR")
"""Settings of the caller that hold for what is measured too."""
NOWHERE = "http://127.0.0.1:9"
"""A proxy that refuses: what asks the network fails, whatever it asks for."""


@dataclass(frozen=True, kw_only=True)
class Ran:
    seconds: float
    code: int
    out: str
    err: str

    def json(self) -> Any:
        """The JSON document on stdout. Raises RuntimeError with the command's own words when it failed."""
        if self.code != 0:
            raise RuntimeError(f"exit {self.code}: {self.err[-2000:]}")
        return json.loads(self.out)


def environment(home: Path) -> dict[str, str]:
    """This environment, offline; downloads and conversions are cached under `home`."""
    refused = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), NOWHERE)
    local = dict.fromkeys(("NO_PROXY", "no_proxy"), "127.0.0.1,localhost")
    own = {k: v for k, v in os.environ.items() if not k.startswith("SMALLWORKS_") or k in KEPT}
    return {
        **own,
        **refused,
        **local,
        "SMALLWORKS_HOME": str(home),
        "SMALLWORKS_OFFLINE": "1",
        "HF_HUB_OFFLINE": "1",
    }


def smallworks(*arguments: object, folder: Path, environment_changes: Mapping[str, str] | None = None) -> Ran:
    """`smallworks …` in `folder`, with its cache below it; wall time of the whole process."""
    start = time.perf_counter()
    done = subprocess.run(
        [*SMALLWORKS, *map(str, arguments)],
        cwd=folder,
        env={**environment(folder / ".cache"), **(environment_changes or {})},
        capture_output=True,
        text=True,
        check=False,
    )
    return Ran(seconds=time.perf_counter() - start, code=done.returncode, out=done.stdout, err=done.stderr)


def watched(arguments: Sequence[str], folder: Path) -> tuple[Ran, int]:
    """`smallworks …` in `folder`, and the peak resident bytes of its process, looked at every 50 ms."""
    import psutil

    start = time.perf_counter()
    child = subprocess.Popen(
        [*SMALLWORKS, *arguments],
        cwd=folder,
        env=environment(folder / ".cache"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    peak = [0]
    watch = threading.Thread(target=_watch, args=(psutil.Process(child.pid), peak), daemon=True)
    watch.start()
    out, err = child.communicate()
    ran = Ran(seconds=time.perf_counter() - start, code=child.returncode, out=out, err=err)
    if ran.code:
        raise RuntimeError(f"exit {ran.code}: {err[-2000:]}")
    return ran, peak[0]


def _watch(process: Any, peak: list[int]) -> None:
    import psutil

    while True:
        try:
            peak[0] = max(peak[0], process.memory_info().rss)
        except psutil.Error:
            return
        time.sleep(0.05)
