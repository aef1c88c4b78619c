"""What the starter makes of documents: the help-desk articles asked, beside the best passage alone.

Measured: `smallworks build --only retrieval,lm-zero` on 108 questions about the 24 articles of the
starter, 36 of which no article answers (written by hand from the articles, before anything was measured;
answers are words of the articles). One half is the test set; when to answer is fitted on the other. Of
that, the 18 validation questions with an answer are too few to choose passages by: the defaults hold. Token
F1 over the answerable, refusals of both sorts, how much of the answers stands in the passages, recall@k;
each with its 95 % interval. No embedding model: searched by words. Against: one sentence of the best
passage, answered by the calibrated score alone. Holds when all were measured: there is no bar. Not covered:
answers in other words than the articles', tuned models, questions that need two articles.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.claim import Finding, Say
from benchmarks.command import smallworks

UNIT = "token F1 on the answerable questions, starter with passages"
GOAL = "reported beside the best passage, with refusals of both sorts"
QUESTIONS = Path(__file__).with_name("helpdesk_questions.jsonl")
PARTS = ("train", "validation", "test")
METRICS = ("answered_f1", "token_f1", "abstained", "abstained_wrongly", "supported", "recall@k", "mrr@k")
TASK = """\
[task]
name = "helpdesk"
kind = "answer"
instruction = "Answer the question from the context."
[data]
train = "train.jsonl"
validation = "validation.jsonl"
test = "test.jsonl"
documents = "articles"
document = "document"
"""


def measure(say: Say) -> Finding:
    with tempfile.TemporaryDirectory(prefix="smallworks-") as scratch:
        folder = task(Path(scratch))
        built = smallworks("build", folder, "--only", "retrieval,lm-zero", "--json", folder=folder)
        rows = {row["name"]: row for row in built.json()["candidates"]}
    found = {name: _figures(row) for name, row in rows.items()}
    say(json.dumps(found))
    best, own = found["retrieval"], found["lm-zero+retrieval"]
    against = {"name": "the best passage", **{name: best[name]["value"] for name in METRICS if name in best}}
    return Finding(value=own["answered_f1"]["value"], holds=len(found) == 3, against=against, details=found)


def task(folder: Path) -> Path:
    """The questions as a task on the articles."""
    from smallworks.starter import HELPDESK

    shutil.copytree(HELPDESK, folder / "articles", ignore=shutil.ignore_patterns("README.md"))
    rows = [json.loads(line) for line in QUESTIONS.read_text(encoding="utf-8").splitlines()]
    for part in PARTS:
        lines = [json.dumps(_without_part(row)) + "\n" for row in rows if row["part"] == part]
        (folder / f"{part}.jsonl").write_text("".join(lines), encoding="utf-8")
    (folder / "task.toml").write_text(TASK, encoding="utf-8")
    return folder


def _without_part(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != "part"}


def _figures(row: dict[str, Any]) -> dict[str, Any]:
    kept = {name: row["metrics"][name] for name in METRICS if name in row["metrics"]}
    short = {
        n: {k: round(v[k], 3) for k in ("value", "low", "high")} | {"n": v["n"]} for n, v in kept.items()
    }
    return {**short, "notes": row["notes"]}
