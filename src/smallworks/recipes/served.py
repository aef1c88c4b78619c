"""A bundle served on loopback by a process of its own, for as long as something here needs it."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from smallworks.errors import ChildError

PROGRAM = (sys.executable, "-P", "-m", "smallworks.cli")
"""The command line, as a process of its own runs it wherever the PATH may lead."""
START_SECONDS = 60.0


@contextmanager
def served(bundle: Path) -> Iterator[str]:
    """`smallworks serve` on a free loopback port, ready to answer; ended on leaving. Gives its address."""
    port = _free_port()
    command = [*PROGRAM, "serve", str(bundle), "--port", str(port), "--open"]
    # A file and no pipe: what nobody reads must not stop a server that has much to say.
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as said:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=said, text=True)
        try:
            _wait(process, f"http://127.0.0.1:{port}/healthz", said)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()


def _wait(process: subprocess.Popen[str], url: str, said: IO[str]) -> None:
    import httpx2

    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            said.seek(0)
            lines = said.read().strip().splitlines()
            last = lines[-1] if lines else "no output"
            raise ChildError(f"The server ended at once: {last}", fix="Try again.")
        try:
            if httpx2.get(url, timeout=2).status_code == 200:
                return
        except httpx2.HTTPError:
            time.sleep(0.05)
    raise ChildError(f"The server did not answer within {START_SECONDS:.0f} s.", fix="Try again.")


def _free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
