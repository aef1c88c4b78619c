"""Untuned, the starter sorts texts under labels it never saw in training, at twice chance and more.

Measured: `smallworks build --only lm-zero,lm-zero-q8_0` on two tasks whose labels are not in the curriculum:
five held-out categories of WordNet (definitions), and the seven intents of SNIPS under plain names
(validation sentences). Against: chance, one in the number of labels, by an exact binomial test.
Not covered: label sets of more than seven, other languages.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks import starter_tasks
from benchmarks.claim import Finding, Say

UNIT = "accuracy as a multiple of chance, the lesser of the two tasks"
GOAL = "≥ 2 on each, above chance with p < 0.01; q8_0 loses ≤ 0.005"
TASKS: Mapping[str, tuple[Callable[[Path], Path], int]] = {
    "wordnet": (starter_tasks.held_out_topics, 5),
    "snips": (starter_tasks.snips_intents, len(starter_tasks.SNIPS)),
}


def measure(say: Say) -> Finding:
    from scipy.stats import binomtest

    found: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory(prefix="smallworks-") as scratch:
        for name, (write, labels) in TASKS.items():
            task = write(Path(scratch) / name)
            rows = starter_tasks.figures(task, "lm-zero,lm-zero-q8_0", Path(scratch), ("accuracy",))
            own, small = (rows[each]["accuracy"] for each in ("lm-zero", "lm-zero-q8_0"))
            n = own["n"]
            p = binomtest(round(own["value"] * n), n, 1 / labels, alternative="greater").pvalue
            lost = own["value"] - small["value"]
            found[name] = {**own, "times_chance": own["value"] * labels, "p": p, "lost_q8_0": lost}
            say(f"{name}: {found[name]}")
    least = min(each["times_chance"] for each in found.values())
    return Finding(
        value=round(least, 3),
        holds=least >= 2 and all(each["p"] < 0.01 and each["lost_q8_0"] <= 0.005 for each in found.values()),
        against={"name": "chance", "values": {name: 1 / labels for name, (_, labels) in TASKS.items()}},
        details=found,
    )
