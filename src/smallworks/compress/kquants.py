"""K-quants of a GGUF by llama.cpp's own `llama-quantize`, where that is on the PATH. Knows no model."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from smallworks import files
from smallworks.errors import ModelError

TOOL = "llama-quantize"


def there() -> bool:
    """Whether this machine has the tool."""
    return shutil.which(TOOL) is not None


def convert(source: Path, out: Path, kind: str) -> Path:
    """`source`, a GGUF of 16 or 32 bits, as the GGUF `out`, whole or not at all; `kind` e.g. 'q4_k_m'.

    Raises ModelError with the tool's last words where it fails.
    """
    tool = shutil.which(TOOL)
    if tool is None:
        raise ModelError(
            f"'{kind}' needs {TOOL}, which is not on the PATH.", fix="Install llama.cpp's tools."
        )
    with files.atomic(out) as temporary:
        command = [tool, str(source), str(temporary), kind.upper()]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
        if done.returncode:
            said = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
            last = said[-1][:200] if said else "no output"
            raise ModelError(
                f"{TOOL} could not make '{kind}' of '{source.name}': {last}.",
                fix="Choose another format, or update llama.cpp's tools.",
            )
    return out
