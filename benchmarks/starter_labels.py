"""Untuned, the starter sorts texts under labels it never saw in training, at twice chance and more.

Measured: `smallworks build --only lm-zero,lm-zero-q8_0` on two tasks whose labels are not in the curriculum:
five held-out categories of WordNet (definitions), and the seven intents of SNIPS under plain names
(validation sentences). Against: chance, one in the number of labels, by an exact binomial test.
Not covered: label sets of more than seven, other languages.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import starter_tasks
from benchmarks.claim import Finding, Say
from benchmarks.command import smallworks

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
            rows = figures(task, "lm-zero,lm-zero-q8_0", Path(scratch), ("accuracy",))
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


def figures(task: Path, only: str, folder: Path, metrics: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The named metrics of each candidate of a build, with interval and n."""
    document = smallworks("build", task, "--only", only, "--json", folder=folder).json()
    found = {}
    for row in document["candidates"]:
        if row["skipped"]:
            raise RuntimeError(f"{row['name']} was not measured: {row['skipped']}")
        found[row["name"]] = {name: row["metrics"][name] for name in metrics}
    return found
