"""`smallworks gate`: pass, fail or undecided, as an exit code for CI."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from smallworks.cli import talk
from smallworks.recipes.gate import gate as judge

EXIT = {"pass": 0, "fail": 1, "inconclusive": 3}


def gate(
    candidate: Path,
    /,
    *,
    against: Path | None = None,
    data: Path | None = None,
    metric: str | None = None,
    at_least: float | None = None,
    margin: float | None = None,
    json: bool = False,
) -> int:
    """Exit 0 when the rows show that the candidate holds, 1 when they rule it out, 3 when they are too few.

    Parameters
    ----------
    candidate
        A bundle's folder, or the records file of an earlier evaluation.
    against
        Another one: ask whether the candidate is no more than the margin worse on the same rows.
    data
        A data file or task folder to measure bundles on (default: the task beside the bundle).
    metric
        Default: the task's own.
    at_least
        What the metric must hold, 0 to 1 (default: the task's own target).
    margin
        How much worse than the other it may be, 0 to 1 (default: 0.02).
    json
        One JSON document on stdout.
    """
    with talk.progress() as progress:
        done = judge(
            candidate,
            against=against,
            rows=data,
            metric=metric,
            at_least=at_least,
            margin=margin,
            progress=progress,
        )
    if json:
        talk.print_json({"candidate": candidate, "against": against, **asdict(done)})
    else:
        talk.say(f"{done.verdict.outcome}: {done.verdict.reason}")
    return EXIT[done.verdict.outcome]
