"""Large files are checked, cleaned and split in little more memory than their own size.

Measured: peak resident memory of `smallworks data check`, `data clean --mask` and `data split`, each in a
process of its own, on made-up JSONL files of two sizes (rows of about 2,000 characters, a tenth of them
repeated with other spacing); the value is the most that any of them takes more for each byte by which the
larger file is larger. `build --only majority` is measured beside them and judged by nothing: a build holds
its rows. No peer.
Not covered: short rows (about the same bytes a row, so more of them to a byte), Parquet, one JSON list, a
file of ten gigabytes itself, which by these figures would take the value times its size.
"""

from __future__ import annotations

import json
import random
import tempfile
from pathlib import Path

from benchmarks.claim import Finding, Say
from benchmarks.command import watched

UNIT = "bytes of peak memory for each byte of the file"
GOAL = "≤ 1.2"
MOST = 1.2
MEGABYTES = (40, 120)
WORDS, ROW_WORDS, LABELS = 20_000, 300, 20
COMMANDS = {
    "check": ("data", "check", "rows.jsonl", "--json"),
    "clean": ("data", "clean", "rows.jsonl", "--out", "kept.jsonl", "--mask", "--json", "--force"),
    "split": ("data", "split", "rows.jsonl", "--out", "parts", "--json", "--force"),
    "build": ("build", "task.toml", "--only", "majority", "--json"),
}
JUDGED = ("check", "clean", "split")
TASK = """\
[task]
name = "made-up"
kind = "classify"
instruction = "Name the label."
[data]
train = "rows.jsonl"
"""


def measure(say: Say) -> Finding:
    peaks: dict[str, list[float]] = {name: [] for name in COMMANDS}
    bytes_of = []
    for megabytes in MEGABYTES:
        with tempfile.TemporaryDirectory(prefix="smallworks-") as scratch:
            folder = Path(scratch)
            bytes_of.append(_write(folder, megabytes * 10**6))
            for name, command in COMMANDS.items():
                ran, peak = watched(command, folder)
                peaks[name].append(peak)
                say(f"{name:<6} {bytes_of[-1] / 1e6:5.0f} MB: {peak / 1e6:6.0f} MB, {ran.seconds:.0f} s")
    more = bytes_of[-1] - bytes_of[0]
    slopes = {name: round((each[-1] - each[0]) / more, 3) for name, each in peaks.items()}
    value = max(slopes[name] for name in JUDGED)
    return Finding(
        value=value, holds=value <= MOST, details={"slopes": slopes, "bytes": bytes_of, "peaks": peaks}
    )


def _write(folder: Path, size: int) -> int:
    """The rows and their task; the size that the file came to, in bytes."""
    draw = random.Random(0)
    words = ["".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=draw.randint(2, 9))) for _ in range(WORDS)]
    (folder / "task.toml").write_text(TASK, encoding="utf-8")
    written, last = 0, ""
    with (folder / "rows.jsonl").open("w", encoding="utf-8") as file:
        while written < size:
            again = bool(last) and draw.random() < 0.1
            text = f"  {last.upper()}" if again else " ".join(draw.choices(words, k=ROW_WORDS))
            last = text if not again else ""
            row = {"text": text, "label": f"label {draw.randrange(LABELS)}"}
            written += file.write(json.dumps(row) + "\n")
    return written
