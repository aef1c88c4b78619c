"""`smallworks --help` starts about as fast as the library that parses its arguments.

Measured: wall time of the installed command from start to exit, medians of 11 starts in turns with its peer;
and which heavy modules it imports. Against: `python -c "import cyclopts"`. Not covered: a cold disk cache.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from benchmarks.claim import Finding, Say
from benchmarks.timing import in_turns, medians

UNIT = "times the peer"
GOAL = '≤ 2.5 × `python -c "import cyclopts"`; imports no numpy, torch, fastapi'
MOST = 2.5
HEAVY = ("numpy", "torch", "fastapi", "transformers", "sklearn", "xllamacpp")
ROUNDS = 11
LOOK = f"""
import sys
from smallworks.cli import run
code = run(["--help"])
sys.stderr.write(",".join(name for name in {HEAVY!r} if name in sys.modules))
sys.exit(code)
"""


def measure(say: Say) -> Finding:
    script = Path(sys.executable).with_name("smallworks")
    command = [str(script)] if script.exists() else [sys.executable, "-m", "smallworks.cli"]
    subjects = {
        "smallworks --help": lambda _: _run([*command, "--help"]),
        'python -c "import cyclopts"': lambda _: _run([sys.executable, "-c", "import cyclopts"]),
        "python -c pass": lambda _: _run([sys.executable, "-c", "pass"]),
    }
    ms = medians(in_turns(subjects, range(ROUNDS)))
    ratio = ms["smallworks --help"] / ms['python -c "import cyclopts"']
    heavy = [name for name in _run([sys.executable, "-c", LOOK]).split(",") if name]
    say(f"{ms}, heavy imports: {heavy or 'none'}")
    return Finding(
        value=round(ratio, 2),
        holds=ratio <= MOST and not heavy,
        against={"name": 'python -c "import cyclopts"', "ms": ms['python -c "import cyclopts"']},
        details={"ms": ms, "heavy_imports": heavy, "starts": ROUNDS},
    )


def _run(command: list[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stderr
