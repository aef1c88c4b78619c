"""Tuned on 500 sentences, the starter names the parts of a request, always in valid JSON.

Measured: `smallworks build --only linear,lm-full,lm-full-q8_0` on 500 training sentences of SNIPS, seven
intents, tested on its 700 validation sentences under a schema of all slot names, every one optional and held
to what the sentence says. Field F1 with its interval; the share of answers that the schema accepts. Against:
the linear candidate, a tagger without any pre-training, of the same build; published figures train on 13,784
sentences.
Not covered: nested fields, numbers.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarks import starter_tasks
from benchmarks.claim import Finding, Say
from benchmarks.starter_tasks import figures

UNIT = "field F1"
GOAL = "field F1 ≥ 0.80, JSON valid on every row; q8_0 loses ≤ 0.005"
LEAST_F1, MOST_LOST = 0.80, 0.005


def measure(say: Say) -> Finding:
    with tempfile.TemporaryDirectory(prefix="smallworks-") as scratch:
        task = starter_tasks.snips_slots(Path(scratch) / "slots")
        both = figures(task, "linear,lm-full,lm-full-q8_0", Path(scratch), ("field_f1", "json_valid"))
    say(str(both))
    own, small = both["lm-full"], both["lm-full-q8_0"]
    lost = own["field_f1"]["value"] - small["field_f1"]["value"]
    valid = min(each["json_valid"]["value"] for each in both.values())
    return Finding(
        value=own["field_f1"]["value"],
        holds=own["field_f1"]["value"] >= LEAST_F1 and valid == 1.0 and lost <= MOST_LOST,
        against={"name": "linear", **both["linear"]["field_f1"]},
        details={**both, "lost_q8_0": round(lost, 4)},
    )
