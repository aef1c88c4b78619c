"""Two candidates are compared on 100,000 rows in seconds.

Measured: wall time, processor time and peak memory of `smallworks compare A.jsonl B.jsonl` on two records
files of 100,000 rows each, in a process of its own, reading included: labels by exact McNemar (`accuracy`)
and by paired bootstrap (`macro_f1`), written answers by paired bootstrap (`token_f1`). The worst wall time of
the three counts; on a machine that others use, read the processor time. No peer: against the limits of 5 s
and 1 GB. Not covered: records with label probabilities of many classes, which take longer to read; rows in
groups; making the records.
"""

from __future__ import annotations

import json
import random
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from subprocess import PIPE, Popen
from typing import Any

from benchmarks.claim import Finding, Say
from benchmarks.command import SMALLWORKS, environment

UNIT = "s"
GOAL = "≤ 5 s, ≤ 1 GB"
MOST_SECONDS, MOST_BYTES = 5.0, 1e9
ROWS, LABELS = 100_000, 20


def measure(say: Say) -> Finding:
    with tempfile.TemporaryDirectory(prefix="smallworks-") as scratch:
        folder = Path(scratch)
        found = {}
        for kind, metrics in (("classify", ("accuracy", "macro_f1")), ("generate", ("token_f1",))):
            for side, right in (("a", 0.90), ("b", 0.91)):
                _write(folder / f"{kind}-{side}.jsonl", kind, right, side)
            for metric in metrics:
                seconds, processor, peak, told = _run(folder, kind, metric)
                found[metric] = {
                    "seconds": round(seconds, 2),
                    "processor_seconds": round(processor, 2),
                    "peak_memory_bytes": peak,
                    "rows": told["difference"]["n"],
                }
                say(
                    f"{metric}: {seconds:.2f} s ({processor:.2f} s of processor), "
                    f"{peak / 1e6:.0f} MB, {told['test']}"
                )
    worst = max(each["seconds"] for each in found.values())
    return Finding(
        value=worst,
        holds=worst <= MOST_SECONDS
        and all(each["peak_memory_bytes"] <= MOST_BYTES and each["rows"] == ROWS for each in found.values()),
        details=found,
    )


def _write(path: Path, kind: str, right: float, seed: str) -> None:
    """Records as `smallworks evaluate --out` writes them, right on that share of rows."""
    from smallworks.evaluate.records import to_json

    with path.open("w", encoding="utf-8") as file:
        for record in _records(kind, right, random.Random(seed)):
            file.write(json.dumps(to_json(record)) + "\n")


def _records(kind: Any, right: float, draw: random.Random) -> Iterator[Any]:
    from smallworks.evaluate.parse import parse
    from smallworks.evaluate.scores import score_row
    from smallworks.types import ExampleId, Record

    labels = tuple(f"label {n}" for n in range(LABELS))
    words = [f"word{n}" for n in range(500)]
    for at in range(ROWS):
        row = random.Random(at)
        due = labels[at % LABELS] if kind == "classify" else " ".join(row.choices(words, k=8))
        if draw.random() < right:
            said = due
        else:
            said = draw.choice(labels) if kind == "classify" else " ".join(draw.choices(words, k=8))
        parsed = parse(kind, said, labels=labels)
        yield Record(
            example_id=ExampleId(f"row-{at}"),
            prompt_hash="0" * 64,
            expected=due,
            raw=said,
            parsed=parsed.strict,
            lenient=parsed.lenient,
            scores=score_row(kind, parsed, due),
            tokens_in=40,
            tokens_out=8,
            ms=12.5,
        )


def _run(folder: Path, kind: str, metric: str) -> tuple[float, float, float, dict[str, Any]]:
    """Wall and processor seconds, peak resident bytes of the command, and the JSON that it printed."""
    import psutil

    files = [f"{kind}-{side}.jsonl" for side in ("a", "b")]
    command = [*SMALLWORKS, "compare", *files, "--metric", metric, "--json"]
    start = time.perf_counter()
    child = Popen(
        command, cwd=folder, env=environment(folder / ".cache"), stdout=PIPE, stderr=PIPE, text=True
    )
    peak, used = [0], [0.0]
    watch = threading.Thread(target=_watch, args=(psutil.Process(child.pid), peak, used), daemon=True)
    watch.start()
    out, err = child.communicate()
    seconds = time.perf_counter() - start
    if child.returncode:
        raise RuntimeError(f"exit {child.returncode}: {err[-2000:]}")
    return seconds, used[0], float(peak[0]), json.loads(out)


def _watch(process: Any, peak: list[int], used: list[float]) -> None:
    import psutil

    while True:
        try:
            peak[0] = max(peak[0], process.memory_info().rss)
            used[0] = max(used[0], sum(process.cpu_times()[:2]))
        except psutil.Error:
            return
        time.sleep(0.02)
