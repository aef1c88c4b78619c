"""A student with ten labelled rows a class learns more from a teacher's probabilities than from its labels.

Measured: on Banking77, through the commands; a linear teacher built on half of the training rows labels the
other half by `smallworks data label`; a linear student has ten labelled rows a class and these as `[data]
synthetic`. Accuracy and log loss on the 3,080 test rows, compared row by row. Against: the same rows with the
teacher's labels alone, and the student without them, in the same run. Not covered: other tasks, language
models, a teacher that is an LLM.
"""

from __future__ import annotations

import csv
import json
import math
import random
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.claim import Finding, Say
from benchmarks.command import smallworks
from benchmarks.shared import BANKING77, read_csv, shared

UNIT = "points of accuracy above labels alone"
GOAL = "log loss lower, accuracy not shown to be worse"
A_CLASS = 10
LEAST = 1e-9
Rows = Sequence[Sequence[str]]


def measure(say: Say) -> Finding:
    with tempfile.TemporaryDirectory(prefix="smallworks-") as scratch:
        folder = Path(scratch)
        first, few, unlabelled = _parts()
        teacher = _built(_task(folder / "teacher", [*first, *few]))["linear"]
        say(f"teacher on {len(first) + len(few):,} rows: {teacher['metric']['value']:.4f}")
        student = _task(folder / "student", few)
        labelled = folder / "student" / "synthetic.jsonl"
        _write(folder / "rows.csv", [(text, "") for text, _ in unlabelled])
        smallworks(
            "data", "label", student, folder / "rows.csv", "--teacher", teacher["bundle"], "--out", labelled,
            "--json", folder=folder,
        )  # fmt: skip
        soft = _built(student, synthetic=True)
        alone, taught = soft["linear"], soft["linear+synthetic"]
        for row in (rows := [json.loads(line) for line in labelled.read_text().splitlines()]):
            del row["teacher_probabilities"]
        labelled.write_text("".join(json.dumps(row) + "\n" for row in rows))
        hard = _built(student, synthetic=True)["linear+synthetic"]
        return _finding(say, teacher, alone, hard, taught, len(few), len(unlabelled))


def _finding(say: Say, teacher: Any, alone: Any, hard: Any, soft: Any, few: int, unlabelled: int) -> Finding:
    from smallworks.evaluate.compare import compare

    before, after = (_records(row) for row in (hard, soft))
    paired = compare(before, after, "accuracy", kind="classify")
    losses = {
        name: _log_loss(_records(row)) for name, row in (("alone", alone), ("hard", hard), ("soft", soft))
    }
    say(f"{few} rows alone {alone['metric']['value']:.4f}, log loss {losses['alone']:.4f}")
    say(f"and {unlabelled:,} by labels {paired.a.value:.4f}, log loss {losses['hard']:.4f}")
    say(f"and {unlabelled:,} by probabilities {paired.b.value:.4f}, log loss {losses['soft']:.4f}")
    say(f"difference {paired.difference.value:+.4f}, {paired.test} p = {paired.p_value:.3f}")
    worse = paired.difference.value < 0 and paired.p_value < 0.05
    return Finding(
        value=100 * paired.difference.value,
        holds=not worse and losses["soft"] < losses["hard"],
        against={
            "name": "the teacher's labels alone",
            "accuracy": paired.a.value,
            "log_loss": losses["hard"],
        },
        details={
            "accuracy": paired.b.value,
            "log_loss": losses["soft"],
            "interval": [paired.difference.low, paired.difference.high],
            "p_value": paired.p_value,
            "student_alone": alone["metric"]["value"],
            "student_alone_log_loss": losses["alone"],
            "teacher": teacher["metric"]["value"],
            "rows": {"labelled": few, "unlabelled": unlabelled, "test": paired.b.n},
        },
    )


def _parts() -> tuple[Rows, Rows, Rows]:
    """The teacher's rows, the student's, and those that nobody labelled for it."""
    rows = read_csv(shared("data/banking77") / "train.csv", "text", "category")
    random.Random(0).shuffle(rows)
    first, second = rows[: len(rows) // 2], rows[len(rows) // 2 :]
    seen: Counter[str] = Counter()
    few, unlabelled = [], []
    for row in second:
        seen[row[1]] += 1
        (few if seen[row[1]] <= A_CLASS else unlabelled).append(row)
    return first, few, unlabelled


def _task(folder: Path, rows: Rows) -> Path:
    folder.mkdir()
    _write(folder / "train.csv", rows)
    (folder / "test.csv").write_bytes((shared("data/banking77") / "test.csv").read_bytes())
    (folder / "task.toml").write_text(BANKING77, encoding="utf-8")
    return folder


def _write(path: Path, rows: Rows) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("text", "category"), *rows])


def _built(task: Path, *, synthetic: bool = False) -> dict[str, Any]:
    if synthetic:
        text = BANKING77.replace("[data]\n", '[data]\nsynthetic = "synthetic.jsonl"\n')
        (task / "task.toml").write_text(text, encoding="utf-8")
    ran = smallworks("build", task, "--only", "linear", "--json", folder=task.parent)
    return {row["name"]: row for row in ran.json()["candidates"]}


def _records(row: Any) -> list[Any]:
    from smallworks.evaluate import records

    return list(records.read(Path(row["records"])))


def _log_loss(done: Sequence[Any]) -> float:
    return -sum(math.log(max(LEAST, r.probabilities.get(r.expected, 0.0))) for r in done) / len(done)
