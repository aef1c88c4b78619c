"""Every mistake of a user ends in one clear sentence, exit 2, and nothing half-written.

Measured: the cases of `tests/cli/test_bad_input.py`, each through the real command line in a process of its
own: missing file, wrong column, empty class, one row, broken JSONL line, unknown key, unreachable base, full
disk, truncated GGUF, wrong checksum, port in use. No peer. Not covered: mistakes that nobody has thought of.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from benchmarks.claim import Finding, Say
from benchmarks.shared import ROOT

UNIT = "share of cases"
GOAL = "1.0"
CASES = "tests/cli/test_bad_input.py"


def measure(say: Say) -> Finding:
    with tempfile.TemporaryDirectory(prefix="smallworks-") as scratch:
        report = Path(scratch) / "report.xml"
        command = [sys.executable, "-m", "pytest", CASES, f"--junit-xml={report}"]
        subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
        cases = list(ElementTree.parse(report).getroot().iter("testcase"))
    bad = [c.attrib["name"] for c in cases if c.find("failure") is not None or c.find("error") is not None]
    skipped = [c.attrib["name"] for c in cases if c.find("skipped") is not None]
    measured = len(cases) - len(skipped)
    say(f"{measured - len(bad)} of {measured} cases hold; failed: {bad}; skipped: {skipped}")
    return Finding(
        value=round((measured - len(bad)) / measured, 4),
        holds=not bad and not skipped,
        details={"cases": len(cases), "failed": bad, "skipped": skipped},
    )
