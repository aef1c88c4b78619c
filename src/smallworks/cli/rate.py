"""`smallworks rate`: rating sheets for people, blind, and what they said."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Literal

from smallworks.cli import talk
from smallworks.cli.gate import EXIT
from smallworks.errors import DataError, UserError
from smallworks.recipes import rate as recipe
from smallworks.recipes.rate import Rated

Action = Literal["export", "read"]
DEFAULT_ROWS = 100


def rate(
    action: Action,
    /,
    *paths: Path,
    out: Path | None = None,
    rows: int = DEFAULT_ROWS,
    raters: str = "1",
    scale: int | None = None,
    reference: bool = False,
    seed: int = 0,
    key: Path | None = None,
    margin: float = 0.0,
    json: bool = False,
) -> int:
    """Write blind sheets for people (export A B [ROWS] --out FOLDER), or read them back (read FOLDER).

    Parameters
    ----------
    action
        export or read.
    paths
        export: two bundles or records files, and the rows. read: the filled sheets, or their folder.
    out
        export: the folder for the sheets; the key goes beside it, as FOLDER.key.json.
    rows
        export: most rows to show, drawn from those with different answers.
    raters
        export: names of the raters, comma-separated; each gets a sheet.
    scale
        export: ask for a score from 1 to this of each answer, in place of a choice between two.
    reference
        export: show what was expected, too.
    seed
        export: seed of the draw, the order and the sides.
    key
        read: the key file (default: FOLDER.key.json beside the folder).
    margin
        read: how much worse B may be: a share of rows for choices, points for scores.
    json
        One JSON document on stdout.
    """
    if action == "read":
        done = recipe.read(paths, _key(key, paths), margin=margin)
        if json:
            talk.print_json(asdict(done))
        else:
            _show(done)
        return EXIT[done.verdict.outcome]
    if len(paths) not in (2, 3) or out is None:
        raise UserError(
            f"`rate export` has {len(paths)} path{'' if len(paths) == 1 else 's'} and "
            f"{'no --out' if out is None else f'--out {out}'}.",
            fix="Write: smallworks rate export A B --out FOLDER",
        )
    with talk.progress() as progress:
        written = recipe.export(
            paths[0],
            paths[1],
            paths[2] if len(paths) == 3 else None,
            out,
            most=rows,
            raters=tuple(name.strip() for name in raters.split(",")),
            scale=scale,
            reference=reference,
            seed=seed,
            progress=progress,
        )
    if json:
        talk.print_json(asdict(written))
        return 0
    for sheet in written.sheets:
        talk.say(str(sheet))
    talk.say(f"{written.key}  (keep it from the raters)")
    differ = written.rows - written.equal
    talk.remark(
        f"{written.shown:,} rows of the {differ:,} whose answers differ; {written.equal:,} have equal ones. "
        f"Next: fill in, then smallworks rate read {written.folder}"
    )
    return 0


def _key(key: Path | None, paths: tuple[Path, ...]) -> Path:
    if not paths:
        raise UserError("`rate read` names no sheet.", fix="Write: smallworks rate read FOLDER")
    lost = next((path for path in paths if not path.exists()), None)
    if lost:
        raise DataError(f"No sheet at '{lost}'.", fix="Name the filled sheets, or their folder.")
    folder = (paths[0] if paths[0].is_dir() else paths[0].parent).absolute()
    found = key or folder.with_name(f"{folder.name}.key.json")
    if not found.is_file():
        raise DataError(f"No key at '{found}'.", fix="Give the key of these sheets with --key FILE.")
    return found


def _show(done: Rated) -> None:
    c, d = done.comparison, done.comparison.difference
    talk.say(f"A  {done.a}\nB  {done.b}\n")
    if done.win_rate:
        w = done.win_rate
        talk.say(f"B's win rate {w.value:.3f} [{w.low:.3f}, {w.high:.3f}], a tie counted as half")
    lead = f"B − A {d.value:+.3f} [{d.low:+.3f}, {d.high:+.3f}] on {d.n:,} rows"
    talk.say(f"{c.metric}  A {c.a.value:.3f}, B {c.b.value:.3f}; {lead}")
    talk.say(f"A ahead on {c.only_a}, B on {c.only_b}; {c.test}, p = {c.p_value:.3g}")
    talk.say(
        f"{done.judged:,} judgements of {done.raters} rater{'' if done.raters == 1 else 's'}, "
        f"{done.missing:,} lines left empty; {done.equal:,} of {done.rows:,} rows had equal answers",
        style="dim",
    )
    _agreement(done)
    if done.first and (done.first.low > 0.5 or done.first.high < 0.5):
        talk.say(f"The first answer was chosen {done.first.value:.2f} of the time: raters lean to a side.")
    talk.say(f"{done.verdict.outcome}: {done.verdict.reason}")


def _agreement(done: Rated) -> None:
    found = done.agreement
    if done.raters < 2:
        talk.say("agreement: one rater agrees with nobody; two or more make it a figure", style="dim")
        return
    things = f"{'rows' if done.form == 'choices' else 'answers'} judged by two or more"
    if found.alpha is None:
        talk.say(f"agreement: not defined, no judgement differs on {found.things:,} {things}", style="dim")
        return
    ends = f" [{found.low:.3f}, {found.high:.3f}]" if found.low is not None and found.high is not None else ""
    pairs = "; ".join(f"{who} {k:.3f}" for who, k in found.kappa.items() if k is not None)
    talk.say(
        f"Krippendorff's alpha {found.alpha:.3f}{ends} on {found.things:,} {things}; "
        f"Cohen's kappa {pairs or '–'}",
        style="dim",
    )
