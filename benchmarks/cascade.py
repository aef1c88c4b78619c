"""A cascade linear → fused holds the fused model's accuracy on Banking77 at a fraction of its work.

Measured: `smallworks build --only linear,fused,cascade-fused` on the full train and test files, thresholds
from held-out training rows alone: accuracy against the better stage (paired, non-inferior by 1 point, one-
sided 95 %), the share that reaches it, rows per second in batches of 32 in turns with it. Then the promise
"at most 1 point below": thresholds from 1,000 random test rows, judged on the other 2,080 (whose own luck
counts against us), 200 times. Then thresholds for 10,000 made-up rows of four stages. Against: the fused
bundle. Not covered: other data, language model stages, prices of servers. Needs all-MiniLM-L6-v2:
SMALLWORKS_MINILM or --encoder PATH.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.banking77_fused import _encoder
from benchmarks.claim import Finding, Say, Skipped
from benchmarks.command import smallworks
from benchmarks.shared import banking77_task, read_csv

UNIT = "times the rows per second of fused alone"
GOAL = (
    "not inferior to fused by 1 point, ≤ 30 % handed to it, ≥ 2.5× its rows per second; the promise held in "
    "≥ 95 % of 200 resplits; 10,000 rows × 4 stages in ≤ 5 s"
)
MOST_SHARE, LEAST_RATIO, LEAST_HELD, MOST_SECONDS, MARGIN = 0.30, 2.5, 0.95, 5.0, 0.01
RESPLITS, CALIBRATION_ROWS = 200, 1000
BATCH, TURNS = 32, 12


def measure(say: Say) -> Finding:
    encoder = _encoder()
    with tempfile.TemporaryDirectory(prefix="smallworks-") as scratch:
        task = banking77_task(Path(scratch) / "banking77")
        names = "linear,fused,cascade-fused"
        ran = smallworks(
            "build", task, "--only", names, "--embedder", encoder, "--json", folder=Path(scratch)
        )
        rows = {row["name"]: row for row in ran.json()["candidates"]}
        cascade = rows["cascade-fused"]
        if cascade["skipped"] or rows["fused"]["skipped"]:
            raise Skipped(rows["fused"]["skipped"] or cascade["skipped"])
        say(f"built in {ran.seconds:.0f} s: {', '.join(cascade['notes'][:2])}")
        quality = _quality(rows)
        say(f"accuracy: {quality}")
        texts = [text for (text,) in read_csv(task / "test.csv", "text")]
        speed = _speed(rows["cascade-fused"]["bundle"], rows["fused"]["bundle"], texts)
        say(f"rows a second in turns: {speed}")
        promise = _resplits(rows)
        say(f"resplits: {promise}")
    seconds = _four_stages()
    say(f"10,000 rows × 4 stages: {seconds:.2f} s")
    return Finding(
        value=speed["ratio"],
        holds=quality["verdict"] == "pass"
        and quality["share"] <= MOST_SHARE
        and speed["ratio"] >= LEAST_RATIO
        and promise["held"] >= LEAST_HELD
        and seconds <= MOST_SECONDS,
        against={"name": "fused on every row", "rows_per_second": speed["fused"]},
        details={"quality": quality, "speed": speed, "promise": promise, "four_stages_seconds": seconds},
    )


def _quality(rows: Mapping[str, Any]) -> dict[str, Any]:
    from smallworks.evaluate import records
    from smallworks.evaluate.compare import compare
    from smallworks.evaluate.verdict import non_inferior

    done = {name: records.read(Path(row["records"])) for name, row in rows.items()}
    found = compare(done["fused"], done["cascade-fused"], "accuracy", kind="classify")
    return {
        **{name: round(row["metric"]["value"], 4) for name, row in rows.items()},
        "difference": [
            round(x, 4) for x in (found.difference.low, found.difference.value, found.difference.high)
        ],
        "verdict": non_inferior(found, MARGIN).outcome,
        "share": round(sum(r.stage == "fused" for r in done["cascade-fused"]) / found.difference.n, 4),
    }


def _speed(cascade: str, fused: str, texts: Sequence[str]) -> dict[str, float]:
    """Rows per second of all texts in batches, a twelfth of them at a time, in turns; one thread each."""
    import smallworks as sw

    taken = {"cascade": 0.0, "fused": 0.0}
    with sw.load(cascade, threads=1) as first, sw.load(fused, threads=1) as second:
        models = {"cascade": first, "fused": second}
        for model in models.values():
            model.answers(texts[:BATCH])
        for turn in range(TURNS):
            part = texts[turn::TURNS]
            for name, model in models.items():
                start = time.perf_counter()
                for at in range(0, len(part), BATCH):
                    model.answers(part[at : at + BATCH])
                taken[name] += time.perf_counter() - start
    speed = {name: round(len(texts) / seconds, 1) for name, seconds in taken.items()}
    return {**speed, "ratio": round(taken["fused"] / taken["cascade"], 2)}


def _resplits(rows: Mapping[str, Any]) -> dict[str, Any]:
    from smallworks.evaluate import records
    from smallworks.route import Stage, calibrate, parse, stages_of
    from smallworks.route.mixes import mix

    done = [records.read(Path(rows[name]["records"])) for name in ("linear", "fused")]
    stages = stages_of(done, ["linear", "fused"], [1.0, 10.0], [1.0, 10.0])

    def some(which: np.ndarray) -> list[Stage]:
        return [replace(s, confidence=s.confidence[which], score=s.score[which]) for s in stages]

    rng, made, broken, shares = np.random.default_rng(0), 0, 0, list[float]()
    for _ in range(RESPLITS):
        order = rng.permutation(len(done[0]))
        chosen = calibrate(some(order[:CALIBRATION_ROWS]), parse("1 point")).chosen
        if chosen:
            made += 1
            judged = mix(some(order[CALIBRATION_ROWS:]), chosen.thresholds)
            broken += -judged.difference > MARGIN
            shares.append(judged.escalated)
    return {
        "resplits": RESPLITS,
        "promised": made,
        "held": round(1 - broken / RESPLITS, 4),
        "mean_share": round(float(np.mean(shares)), 4) if shares else None,
    }


def _four_stages(rows: int = 10_000) -> float:
    from smallworks.route import Stage, calibrate, parse

    rng = np.random.default_rng(0)
    ease, stages = rng.normal(size=rows), []
    for number in range(4):
        sure = 1 / (1 + np.exp(-(1.5 + 0.7 * number + 2 * ease + 0.5 * rng.normal(size=rows))))
        right = (rng.random(rows) < sure).astype(float)
        stages.append(Stage(name=f"{number}", confidence=sure, score=right, cost=10.0**number, ms=1.0))
    start = time.perf_counter()
    calibrate(stages, parse("1 point"))
    return round(time.perf_counter() - start, 2)
