"""Untuned, the starter answers from a fact sheet it never saw, and says so when the answer is not there.

Measured: `smallworks build --only lm-zero,lm-zero-q8_0` on questions about countries held out of all
training text, half of which their sheet cannot answer. It is asked twice: for the line that answers, which is
how it was taught, and for the value alone. Token F1 on the answerable half, each against what was asked for;
the share of the other half that gets the sentence of refusal. Against: always refusing (F1 0, abstention 1).
Not covered: long documents, prose, questions in other words than the curriculum's.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from benchmarks import starter_tasks
from benchmarks.claim import Finding, Say

UNIT = "token F1 on answerable questions, asked for the line"
GOAL = "F1 ≥ 0.60 both ways, abstention ≥ 0.90 on the unanswerable; q8_0 loses ≤ 0.005"
LEAST_F1, LEAST_ABSTAINED, MOST_LOST = 0.60, 0.90, 0.005
METRICS = ("answered_f1", "abstained", "abstained_wrongly")


def measure(say: Say) -> Finding:
    found: dict[str, dict[str, dict[str, Any]]] = {}
    with tempfile.TemporaryDirectory(prefix="smallworks-") as scratch:
        folder = Path(scratch)
        for name in ("line", "value"):
            task = starter_tasks.countries(folder / name, brief=name == "value")
            found[name] = starter_tasks.figures(task, "lm-zero,lm-zero-q8_0", folder, METRICS)
            say(f"asked for the {name}: {found[name]}")
    own = {name: _values(rows["lm-zero"]) for name, rows in found.items()}
    small = {name: _values(rows["lm-zero-q8_0"]) for name, rows in found.items()}
    lost = max(own[name][metric] - small[name][metric] for name in found for metric in METRICS[:2])
    enough = all(
        each["answered_f1"] >= LEAST_F1 and each["abstained"] >= LEAST_ABSTAINED for each in own.values()
    )
    return Finding(
        value=own["line"]["answered_f1"],
        holds=enough and lost <= MOST_LOST,
        against={"name": "always refusing", "answered_f1": 0.0, "abstained": 1.0},
        details={**found, "lost_q8_0": round(lost, 4)},
    )


def _values(metrics: dict[str, Any]) -> dict[str, float]:
    return {name: estimate["value"] for name, estimate in metrics.items()}
