"""Make the virtual environment: the package with everything tests and demo need, torch for the CPU only.

Tried in order: the CPU constraint with pip; uv's own choice of torch build, where uv exists; a plain
install, after saying what it will cost. Idempotent. Uses the standard library alone.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import venv
from pathlib import Path

PIP = "-m", "pip", "install", "-q", "--disable-pip-version-check"
PACKAGE = "-e", ".[dev]"
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
UV_INSTALL = "pip", "install", "--torch-backend=auto"
PINNED = "torch==2.13.0"
"""The same version without the local label: some mirrors carry the CPU build under it."""


def main(folder: Path) -> int:
    if sys.version_info < (3, 11):  # noqa: UP036 - the user may run this with any Python
        say(f"Python 3.11 or newer is needed; this is {sys.version.split()[0]}. Try: make PYTHON=python3.12")
        return 2
    python = folder / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    if not python.exists():
        say(f"Making a virtual environment in {folder} …")
        venv.create(folder, with_pip=True)
    if not has_torch(python):
        install_torch(python)
    say("Installing smallworks and its tools …")
    return run(python, *PIP, *PACKAGE)


def install_torch(python: Path) -> None:
    """Leave a torch in the environment that is a CPU build wherever one can be had."""
    say("Installing torch, CPU build (about 200 MB) …")
    constrained = (*PIP, "-c", "constraints/cpu.txt", "torch")
    for attempt in (constrained, (*constrained, "--extra-index-url", CPU_INDEX)):
        if run(python, *attempt, silent=True) == 0:
            return
    uv = shutil.which("uv")
    if uv and subprocess.run([uv, *UV_INSTALL, "--python", str(python), PINNED]).returncode == 0:
        return
    if sys.platform == "linux":
        say("No CPU build found: the default one follows, with CUDA (3 GB down, 5.4 on disk). Ctrl-C stops.")
    run(python, *PIP, PINNED)


def has_torch(python: Path) -> bool:
    return run(python, "-c", "import importlib.metadata as m; m.version('torch')", silent=True) == 0


def run(python: Path, *arguments: str, silent: bool = False) -> int:
    sink = subprocess.DEVNULL if silent else None
    return subprocess.run([str(python), *arguments], stdout=sink, stderr=sink).returncode


def say(text: str) -> None:
    sys.stderr.write(text + "\n")


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else ".venv")))
