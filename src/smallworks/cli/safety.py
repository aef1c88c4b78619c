"""`smallworks safety`: what a model refuses, rightly or needlessly, and whose instructions it follows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.table import Table as Grid

from smallworks.cli import talk
from smallworks.cli.gate import EXIT
from smallworks.evaluate.verdict import combine
from smallworks.recipes.safety import Options, Refusals, Safety, Targets, others
from smallworks.recipes.safety import safety as examine
from smallworks.types import Comparison, Estimate

NAMED = 5
"""Requests dealt with wrongly that are named on the terminal."""


def safety(
    target: str,
    rows: Path | None = None,
    /,
    *,
    refused: float | None = None,
    answered: float | None = None,
    resisted: float | None = None,
    harmful: tuple[Path, ...] = (),
    benign: tuple[Path, ...] = (),
    labelled: Path | None = None,
    model: str | None = None,
    key_env: str | None = None,
    out: Path | None = None,
    json: bool = False,
) -> int:
    """Harmful requests refused, benign ones answered, hidden instructions resisted, with intervals.

    Parameters
    ----------
    target
        A bundle's folder, or the URL of an OpenAI-shaped server.
    rows
        Bundles: a data file or task folder whose texts get hidden instructions (default: golden rows).
    refused
        The least share of harmful requests that must be refused, 0 to 1.
    answered
        The least share of benign requests that must be answered, 0 to 1.
    resisted
        The least share of hidden instructions that must not be obeyed, 0 to 1.
    harmful
        A file of harmful requests in place of our own set; may be given several times.
    benign
        A file of benign requests that look harmful; may be given several times.
    labelled
        Answers with `refused` true or false, labelled by people, to measure the refusal detector on.
    model
        Servers: the model to name (default: the first that the server lists).
    key_env
        Servers: the environment variable that holds the key.
    out
        Keep one record an answer in this JSONL file.
    json
        One JSON document on stdout.
    """
    targets = Targets(refused=refused, answered=answered, resisted=resisted)
    options = Options(harmful=harmful, benign=benign, labelled=labelled, model=model, key_env=key_env)
    with talk.progress() as progress:
        found = examine(target, rows, targets=targets, options=options, out=out, progress=progress)
    if json:
        talk.print_json(_document(found))
    else:
        _show(found)
    return EXIT[combine(list(found.verdicts.values())).outcome] if found.verdicts else 0


def _document(found: Safety) -> dict[str, Any]:
    said = asdict(found)
    del said["records"]
    return said


def _show(found: Safety) -> None:
    grid = Grid(box=None, pad_edge=False, header_style="bold")
    for at, name in enumerate(("share", "value", "95 % interval", "seen", "of", "verdict")):
        grid.add_column(name, justify="right" if 0 < at < 5 else "left")
    if found.harmful:
        _share(grid, "harmful requests refused", found.harmful, lambda one: one, _outcome(found, "refused"))
    if found.benign:
        _share(grid, "benign requests answered", found.benign, others, _outcome(found, "answered"))
    if found.injection:
        kept = found.injection.resisted
        grid.add_row(
            "hidden instructions resisted", *_cells(kept), "", str(kept.n), _outcome(found, "resisted")
        )
    talk.out.print(grid)
    if found.detector:
        sens, spec = found.detector.sensitivity, found.detector.specificity
        talk.say(
            f"refusal detector: finds {sens.value:.3f} [{sens.low:.3f}, {sens.high:.3f}] of refusals, "
            f"spares {spec.value:.3f} [{spec.low:.3f}, {spec.high:.3f}] of other answers; corrected for",
            style="dim",
        )
    if found.injection:
        for name, one in (("obeyed", found.injection.obeyed), ("answer changed", found.injection.changed)):
            talk.say(_paired(name, one), style="dim")
    for name, part in (("harmful, not refused", found.harmful), ("benign, refused", found.benign)):
        _wrong(name, part)
    for name, reason in found.skipped.items():
        talk.say(f"{name} not measured: {reason}", style="dim")
    for verdict in found.verdicts.values():
        talk.say(f"{verdict.outcome}: {verdict.reason}")


def _share(
    grid: Grid, name: str, part: Refusals, turned: Callable[[Estimate], Estimate], outcome: str
) -> None:
    """A row of the table; `turned` makes of the share that was refused the one that is named."""
    seen = turned(part.seen)
    grid.add_row(name, *_cells(turned(part.corrected)), f"{seen.value:.3f}", str(seen.n), outcome)


def _cells(found: Estimate) -> tuple[str, str]:
    return f"{found.value:.3f}", f"{found.low:.3f}–{found.high:.3f}"


def _outcome(found: Safety, key: str) -> str:
    return found.verdicts[key].outcome if key in found.verdicts else "–"


def _paired(name: str, one: Comparison) -> str:
    d = one.difference
    return (
        f"{name}: {one.b.value:.3f} with the instruction, {one.a.value:.3f} with its benign twin; difference "
        f"{d.value:+.3f} [{d.low:+.3f}, {d.high:+.3f}], p = {one.p_value:.3g}"
    )


def _wrong(name: str, part: Refusals | None) -> None:
    if part and part.wrong:
        more = f" and {len(part.wrong) - NAMED} more" if len(part.wrong) > NAMED else ""
        talk.say(f"{name}: {', '.join(part.wrong[:NAMED])}{more}", style="dim")
