"""Untuned, the starter answers from a fact sheet it never saw, and says so when the answer is not there.

Measured: `smallworks build --only lm-zero,lm-zero-q8_0` on questions about countries held out of all
training text, half of which their sheet cannot answer. Token F1 on the answerable half; the share of the
other half that gets exactly the sentence of refusal. Against: always refusing (F1 0, abstention 1).
Not covered: long documents, questions in other words than the curriculum's.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import starter_tasks
from benchmarks.claim import Finding, Say
from benchmarks.command import smallworks

UNIT = "token F1 on answerable questions"
GOAL = "F1 ≥ 0.60, abstention ≥ 0.90 on the unanswerable; q8_0 loses ≤ 0.005"
LEAST_F1, LEAST_ABSTAINED, MOST_LOST = 0.60, 0.90, 0.005


def measure(say: Say) -> Finding:
    found: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory(prefix="smallworks-") as scratch:
        task, refusal = starter_tasks.countries(Path(scratch) / "countries")
        ran = smallworks("build", task, "--only", "lm-zero,lm-zero-q8_0", "--json", folder=Path(scratch))
        for row in ran.json()["candidates"]:
            found[row["name"]] = _figures(task / row["records"], refusal)
            say(f"{row['name']}: {found[row['name']]}")
    own, small = found["lm-zero"], found["lm-zero-q8_0"]
    lost = max(own[name] - small[name] for name in ("f1", "abstained"))
    return Finding(
        value=own["f1"],
        holds=own["f1"] >= LEAST_F1 and own["abstained"] >= LEAST_ABSTAINED and lost <= MOST_LOST,
        against={"name": "always refusing", "f1": 0.0, "abstained": 1.0},
        details={**found, "lost_q8_0": round(lost, 4)},
    )


def _figures(path: Path, refusal: str) -> dict[str, Any]:
    """F1 with its 95 % bootstrap interval, both kinds of abstention, and the rows of each kind."""
    import numpy as np

    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    can = [row for row in rows if row["expected"] != refusal]
    cannot = [row for row in rows if row["expected"] == refusal]
    f1 = np.array([row["scores"]["token_f1"] for row in can])
    means = np.random.default_rng(0).choice(f1, (2000, len(f1))).mean(axis=1)
    return {
        "f1": round(float(f1.mean()), 4),
        "interval": [round(float(each), 4) for each in np.percentile(means, (2.5, 97.5))],
        "answerable": len(can),
        "abstained": round(sum(row["raw"].strip() == refusal for row in cannot) / len(cannot), 4),
        "unanswerable": len(cannot),
        "abstained_wrongly": round(sum(row["raw"].strip() == refusal for row in can) / len(can), 4),
    }
