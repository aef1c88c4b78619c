"""GPTQ, AWQ and W8A8 as compressed-tensors folders, by llmcompressor in a Python environment of its own.

It wants an older transformers than ours, and 1.5 GB: the environment is made only when asked, or is the one
that SMALLWORKS_LLMCOMPRESSOR names. Knows the widths that fit and no task: the rows come as token ids.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from smallworks import child, files, settings
from smallworks.compress import llmcompressor_script
from smallworks.engines import shape
from smallworks.engines.shape import companions
from smallworks.errors import MissingExtra, ModelError, UserError
from smallworks.seams import Progress, silent

Kind = Literal["gptq", "awq", "w8a8"]
PINNED = "llmcompressor==0.14.0.1"
"""The release that the script was written for and tried with."""
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
GROUP = 128
"""Columns that share a scale in gptq and awq."""
READY = "ready.json"
WRITTEN = ("config.json", "model.safetensors")
WANTED = "The formats gptq, awq and w8a8"


def convert(
    folder: Path, out: Path, kind: Kind, rows: Sequence[Sequence[int]], progress: Progress = silent
) -> Path:
    """The model folder `out`, whole or not at all, fitted on `rows` of token ids.

    Raises ModelError for widths that do not fit, UserError without the environment, ChildError where
    llmcompressor fails.
    """
    check(folder, kind)
    request = {
        "folder": str(folder.resolve()),
        "kind": kind,
        "rows": [list(row) for row in rows],
        "threads": settings.load().threads,
    }
    with files.atomic_folder(out) as draft:
        work = draft / "work"
        script = Path(llmcompressor_script.__file__)
        child.run_script(python(), script, {**request, "out": str(work)}, progress=progress)
        for path in sorted(work.iterdir()):
            if path.name in WRITTEN or path.suffix == ".safetensors" or "safetensors.index" in path.name:
                path.chmod(0o644)  # safetensors writes files that nobody else can read
                path.rename(draft / path.name)
        shutil.rmtree(work)
        for path in companions(folder):
            files.link_or_copy(path, draft / path.name)
    return out


def check(folder: Path, kind: Kind) -> None:
    """Raises ModelError for a model whose linear layers do not fill groups, from its headers alone."""
    odd = {name: inputs for name, (_, inputs) in shape.linears(folder).items() if inputs % GROUP}
    if kind != "w8a8" and odd:
        name, inputs = next(iter(odd.items()))
        raise ModelError(
            f"'{name}' of '{folder}' has {inputs} columns, which groups of {GROUP} do not fill: it cannot be "
            f"{kind}.",
            fix="Take w8a8, whose scales are one a row, or q4_0, whose groups are of 32.",
        )


def python() -> Path:
    """The Python that has llmcompressor. Raises UserError, with how to get it, where there is none."""
    here = settings.load()
    if here.llmcompressor:
        if not here.llmcompressor.is_file():
            raise UserError(
                f"SMALLWORKS_LLMCOMPRESSOR names '{here.llmcompressor}', which is not there.",
                fix="Name the python of the environment that llmcompressor is installed in.",
            )
        return here.llmcompressor
    if not _ready(home()):
        raise UserError(
            f"{WANTED} take llmcompressor in an environment of its own, and there is none at '{home()}'.",
            fix="Add --install to make it (1.5 GB with the CPU build of torch), or name the python of yours "
            "in SMALLWORKS_LLMCOMPRESSOR.",
        )
    return _python(home())


def there() -> bool:
    """Whether this machine has the environment."""
    named = settings.load().llmcompressor
    return named.is_file() if named else _ready(home())


def home() -> Path:
    """The folder of the environment that `install` makes."""
    return settings.load().home / "llmcompressor"


def install(progress: Progress = silent) -> Path:
    """Make the environment, unless it is there; the same torch as ours is pinned before all else.

    Raises UserError where that is not to be, ModelError with pip's last words where it fails.
    """
    here, folder = settings.load(), home()
    if here.llmcompressor:
        raise UserError(
            f"SMALLWORKS_LLMCOMPRESSOR names '{here.llmcompressor}': nothing is to be installed.",
            fix="Leave out --install, or unset the variable.",
        )
    if _ready(folder):
        return _python(folder)
    if here.offline:
        raise UserError("--install needs a package index, and SMALLWORKS_OFFLINE is set.", fix="Unset it.")
    torch = _torch()
    folder.parent.mkdir(parents=True, exist_ok=True)
    with files.lock(folder.parent, "an installation"):
        shutil.rmtree(folder, ignore_errors=True)
        progress("install", 0, 2, "an environment for llmcompressor")
        _run([sys.executable, "-m", "venv", str(folder)])
        progress("install", 1, 2, f"{torch}, {PINNED}")
        pip = [str(_python(folder)), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
        source = ["--extra-index-url", CPU_INDEX] if torch.endswith("+cpu") else []
        _run([*pip, torch, PINNED, *source])
        files.write_json(folder / READY, {"torch": torch, "llmcompressor": PINNED})
        progress("install", 2, 2, "done")
    return _python(folder)


def _ready(folder: Path) -> bool:
    """Whether an installation there went through to its end, with the release that is wanted."""
    stamp = folder / READY
    return stamp.is_file() and files.read_json(stamp).get("llmcompressor") == PINNED


def _python(folder: Path) -> Path:
    return folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


def _torch() -> str:
    try:
        return f"torch=={version('torch')}"
    except PackageNotFoundError as error:
        raise MissingExtra("torch", extra="train", wanted_for=WANTED) from error


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode:
        said = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        raise ModelError(
            f"'{' '.join(command[1:4])} …' failed: {said[-1][:300] if said else 'no output'}.",
            fix="Mend that and run the command again, or make the environment by hand and name its python in "
            f"SMALLWORKS_LLMCOMPRESSOR: pip install {PINNED}",
        )
