"""`smallworks route`: a cascade of bundles with thresholds that keep a stated promise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from rich.markup import escape
from rich.table import Table as Grid

from smallworks.cli import talk
from smallworks.errors import UserError
from smallworks.recipes.route import Routed, agree_bundles, calibrate_bundles
from smallworks.route import Limits, Routing, parse
from smallworks.route.mixes import Mix

Action = Literal["calibrate", "agree"]
PROMISE, CONFIDENCE, SAME = "1 point", 0.95, 1.0
FOR: Mapping[Action, tuple[str, ...]] = {
    "calibrate": (
        "--data", "--promise", "--confidence", "--costs", "--latency-ms", "--monthly-cap",
        "--monthly-requests", "--gate",
    ),
    "agree": ("--agreement",),
}  # fmt: skip
"""What each action alone takes; --out and --json are for both."""
LINES = 12
"""Mixes shown, spread over the share that is handed to the last stage."""
UNDECIDED = 3


def route(
    action: Action,
    /,
    *bundles: Path,
    data: Path | None = None,
    promise: str | None = None,
    confidence: float | None = None,
    costs: str | None = None,
    latency_ms: float | None = None,
    monthly_cap: float | None = None,
    monthly_requests: int | None = None,
    agreement: float | None = None,
    gate: bool = False,
    out: Path | None = None,
    json: bool = False,
) -> int:
    """Choose when each bundle hands over to the next, and freeze all as one; exit 3 without a promise.

    Parameters
    ----------
    action
        calibrate, by labelled rows; agree, without any: the third answers where the first two differ.
    bundles
        Bundles of one task, the cheapest first; the last one answers what no other is sure of.
    data
        Labelled rows that no stage was built on: a data file or a task folder, whose test set is taken.
        Calibrate needs them, agree takes none.
    promise
        For calibrate: '1 point' (at most so far below the last stage; the default) or 'at least 0.9' (share
        right, or mean score).
    confidence
        How often such a choice must keep its promise, 0.5 to 1 (default: 0.95).
    costs
        Dollars per 1,000 requests of each bundle, comma-separated (default: measured time at $0.10 an hour;
        for a server the task's prices).
    latency_ms
        Most milliseconds that 95 of 100 requests may take, by the stages' measured times.
    monthly_cap
        Most dollars a month; needs --monthly-requests.
    monthly_requests
        Requests a month, for the cap.
    agreement
        For agree: from which share of common words (F1) two texts agree (default: 1, the same answer).
    gate
        Try a gate in front that sends what looks hard by the input alone to the last bundle at once; kept
        where it lowers the cost. A third of the rows fits it.
    out
        Where the cascade goes (default: beside the last bundle).
    json
        One JSON document on stdout.
    """
    given = {"--data": data, "--promise": promise, "--confidence": confidence, "--costs": costs}
    given |= {"--latency-ms": latency_ms, "--monthly-cap": monthly_cap, "--gate": gate or None}
    given |= {"--monthly-requests": monthly_requests, "--agreement": agreement}
    _refuse_strays(action, given)
    if action == "agree":
        return _agree(bundles, SAME if agreement is None else agreement, out, json=json)
    if data is None:
        raise UserError("There are no rows to calibrate on.", fix="Name labelled rows: --data ROWS")
    limits = Limits(p95_ms=latency_ms, cost=_cap(monthly_cap, monthly_requests))
    asked = parse(PROMISE if promise is None else promise, CONFIDENCE if confidence is None else confidence)
    with talk.progress() as progress:
        done = calibrate_bundles(
            bundles,
            data,
            asked,
            costs=_costs(costs or ""),
            limits=limits,
            gate=gate,
            out=out,
            progress=progress,
        )
    if json:
        talk.print_json(_document(done))
    else:
        _show(done)
    return 0 if done.routing.chosen else UNDECIDED


def _refuse_strays(action: Action, given: Mapping[str, object]) -> None:
    for option, value in given.items():
        if value is not None and option not in FOR[action]:
            (other,) = set(FOR) - {action}
            raise UserError(
                f"{option} has no meaning for 'route {action}'.",
                fix=f"Leave it out; it is for: route {other}.",
            )


def _agree(bundles: Sequence[Path], at: float, out: Path | None, *, json: bool) -> int:
    with talk.progress() as progress:
        bundle = agree_bundles(bundles, at=at, out=out, progress=progress)
    if json:
        talk.print_json({"bundle": str(bundle.path), "stages": [s.name for s in bundle.manifest.stages]})
        return 0
    talk.say(f"bundle  {bundle.path}")
    path = escape(str(bundle.path))
    talk.remark(f"[dim]nothing is promised; next    smallworks evaluate {path} ROWS[/dim]")
    return 0


def _cap(dollars: float | None, requests: int | None) -> float | None:
    """The monthly cap as dollars a request."""
    if (dollars is None) != (requests is None):
        raise UserError(
            "--monthly-cap and --monthly-requests go together.", fix="Give both, or neither of them."
        )
    if dollars is None or requests is None:
        return None
    if dollars <= 0 or requests <= 0:
        raise UserError(
            f"{dollars:g} dollars for {requests} requests is no cap.", fix="Give two amounts above 0."
        )
    return dollars / requests


def _costs(text: str) -> tuple[float, ...]:
    try:
        found = tuple(float(part) for part in text.split(",") if part.strip())
    except ValueError as error:
        raise UserError(f"--costs '{text}' are no numbers.", fix="Write --costs 0.001,0.3") from error
    if any(not 0 <= cost < float("inf") for cost in found):
        raise UserError(f"--costs '{text}' are not all 0 or more.", fix="Write --costs 0.001,0.3")
    return found


def _show(done: Routed) -> None:
    found = done.routing
    for notice in done.notices:
        talk.remark(f"{notice.severity}  {escape(notice.sentence)}")
    grid = Grid(box=None, pad_edge=False, header_style="bold")
    grid.add_column("answers from", no_wrap=True)
    quality = "right" if found.last.spread is None else "score"
    for name in (f"to {found.stages[-1]}", quality, "95 % interval", "difference", "$ / 1,000", "p95 ms"):
        grid.add_column(name, justify="right", no_wrap=True)
    grid.add_column("promise", no_wrap=True)
    for one in _shown(found):
        mark = "● " if one == found.chosen else "  "
        grid.add_row(mark + _named(found, one), *_cells(one), "kept" if one.promised else "–")
    grid.add_row(f"  {found.stages[-1]} alone", *_cells(found.last), "–")
    grid.add_row("  the oracle", *_cells(found.oracle), "–")
    talk.out.print(grid)
    talk.say(f"\n{done.why}")
    for note in done.notes:
        talk.remark(escape(note))
    if done.bundle:
        talk.say(f"bundle  {done.bundle.path}")
        path = escape(str(done.bundle.path))
        talk.remark(f"[dim]next    smallworks evaluate {path} ROWS, on rows not used here[/dim]")


def _named(found: Routing, one: Mix) -> str:
    named = zip(found.stages, one.thresholds, strict=False)
    return ", ".join(f"{name} {at:g}" for name, at in named if at is not None)


def _cells(one: Mix) -> tuple[str, ...]:
    low, high = one.interval
    return (
        f"{100 * one.escalated:.1f} %",
        f"{one.quality:.4f}",
        f"{low:.4f}–{high:.4f}",
        f"{one.difference:+.4f}",
        f"{1000 * one.cost:.2g}",
        f"{one.p95_ms:.2g}",
    )


def _shown(found: Routing) -> Sequence[Mix]:
    """Mixes of the path that the choice is on, or would be: evenly spread, the choice among them."""
    picked = found.chosen or found.wanted or found.mixes[-1]
    way = [at is None for at in picked.thresholds]
    path = [one for one in found.mixes if [at is None for at in one.thresholds] == way]
    distinct = [one for i, one in enumerate(path) if i == 0 or one.shares != path[i - 1].shares]
    wanted = [i / (LINES - 1) for i in range(LINES)]
    kept = {min(range(len(distinct)), key=lambda i: abs(distinct[i].escalated - share)) for share in wanted}
    return [one for i, one in enumerate(distinct) if i in kept or one == picked] + (
        [picked] if picked not in distinct else []
    )


def _document(done: Routed) -> dict[str, Any]:
    found = done.routing
    return {
        "bundle": str(done.bundle.path) if done.bundle else None,
        "why": done.why,
        "notes": done.notes,
        "stages": found.stages,
        "promise": {**asdict(found.promise), "kept": found.chosen is not None},
        "rows": found.rows,
        "design": found.design,
        "rows_needed": found.rows_needed,
        "rows_least": found.rows_least,
        "chosen": _mix(found.chosen) if found.chosen else None,
        "last": _mix(found.last),
        "oracle": _mix(found.oracle),
        "mixes": [_mix(one) for one in found.mixes],
    }


def _mix(one: Mix) -> dict[str, Any]:
    low, high = one.interval
    return {**asdict(one), "low": low, "high": high, "escalated": one.escalated}
