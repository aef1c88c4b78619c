"""Untuned, the starter answers from a fact sheet it never saw, and says so when the answer is not there.

Measured: `smallworks build --only lm-zero,lm-zero-q8_0` on questions about countries held out of all
training text, half of which their sheet cannot answer. Token F1 on the answerable half; the share of the
other half that gets the sentence of refusal. Against: always refusing (F1 0, abstention 1).
Not covered: long documents, questions in other words than the curriculum's.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarks import starter_tasks
from benchmarks.claim import Finding, Say

UNIT = "token F1 on answerable questions"
GOAL = "F1 ≥ 0.60, abstention ≥ 0.90 on the unanswerable; q8_0 loses ≤ 0.005"
LEAST_F1, LEAST_ABSTAINED, MOST_LOST = 0.60, 0.90, 0.005
METRICS = ("answered_f1", "abstained", "abstained_wrongly")


def measure(say: Say) -> Finding:
    with tempfile.TemporaryDirectory(prefix="smallworks-") as scratch:
        folder = Path(scratch)
        task = starter_tasks.countries(folder / "countries")
        found = starter_tasks.figures(task, "lm-zero,lm-zero-q8_0", folder, METRICS)
    say(str(found))
    own, small = ({name: e["value"] for name, e in figures.items()} for figures in found.values())
    lost = max(own[name] - small[name] for name in METRICS[:2])
    return Finding(
        value=own["answered_f1"],
        holds=own["answered_f1"] >= LEAST_F1 and own["abstained"] >= LEAST_ABSTAINED and lost <= MOST_LOST,
        against={"name": "always refusing", "answered_f1": 0.0, "abstained": 1.0},
        details={**found, "lost_q8_0": round(lost, 4)},
    )
