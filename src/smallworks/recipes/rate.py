"""People judge two candidates blind: sheets out, sheets in, who is preferred and how far people agree."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from smallworks import data, taskfile
from smallworks.bundle import open_bundle
from smallworks.errors import DataError, UserError
from smallworks.evaluate.agreement import Agreement, agreement
from smallworks.evaluate.intervals import wilson
from smallworks.evaluate.metrics import kind_of
from smallworks.evaluate.preference import preferred, scored, win_rate
from smallworks.evaluate.records import by_id
from smallworks.evaluate.verdict import non_inferior
from smallworks.recipes import sheets
from smallworks.recipes.examine import labelled_rows, records_of
from smallworks.recipes.sheets import Entry, Form, Item, Key
from smallworks.seams import Progress, silent
from smallworks.types import Comparison, DataFiles, Estimate, Example, Record, Targets, Task, Verdict

SCALES = (2, 100)


@dataclass(frozen=True, kw_only=True)
class Exported:
    """`shown` of the `rows` that both answered, `equal` of which have the same answer and need no eye."""

    folder: Path
    key: Path
    sheets: tuple[Path, ...]
    rows: int
    equal: int
    shown: int


@dataclass(frozen=True, kw_only=True)
class Rated:
    """What people said. `comparison` has A and B as in the key; `first` is how often the first side won.

    `win_rate` (choices only) is B's, a tie counted as half, among the rows shown: those with equal answers
    were not. `missing` are lines left empty, of all lines of the sheets that came back.
    """

    form: Form
    a: str
    b: str
    raters: int
    judged: int
    missing: int
    rows: int
    equal: int
    comparison: Comparison
    win_rate: Estimate | None
    first: Estimate | None
    agreement: Agreement
    verdict: Verdict


def export(
    a: Path,
    b: Path,
    rows: Path | None,
    out: Path,
    *,
    most: int = 100,
    raters: Sequence[str] = ("1",),
    scale: int | None = None,
    reference: bool = False,
    seed: int = 0,
    progress: Progress = silent,
) -> Exported:
    """Write a sheet for each rater into `out`, and the key beside it. Raises UserError where either exists.

    `a` and `b` are bundles or records files; `scale` asks for scores from 1 to it in place of choices.
    """
    _check(out, most, raters, scale)
    key_path = out.with_name(f"{out.name}.key.json")
    if out.exists() or key_path.exists():
        there = out if out.exists() else key_path
        raise UserError(
            f"'{there}' is there already, perhaps with ratings in it.", fix="Choose another --out."
        )
    examples = _examples(a, b, rows)
    said = [
        by_id(records_of(path, rows if path.is_dir() else None, progress=progress), f"'{path}'")
        for path in (a, b)
    ]
    common = [row for row in said[0] if row in said[1] and row in examples]
    if not common:
        raise DataError(
            f"'{a}' and '{b}' have no row in common with the rows given.",
            fix="Measure both on the same rows: smallworks evaluate BUNDLE ROWS --out FILE",
        )
    differ = [row for row in common if said[0][row].raw != said[1][row].raw]
    if not differ:
        raise DataError(f"All {len(common):,} answers are equal.", fix="There is nothing to prefer.")
    chosen = sorted(random.Random(seed).sample(differ, min(most, len(differ))), key=common.index)
    items = [_item(examples[row], said[0][row], said[1][row]) for row in chosen]
    form: Form = "scores" if scale else "choices"
    key = Key(
        form=form,
        a=str(a),
        b=str(b),
        scale=scale or 0,
        seed=seed,
        rows=len(common),
        equal=len(common) - len(differ),
        sheets={},
    )
    sheets.write_key(key_path, sheets.write(out, items, key, raters, reference=reference))
    return Exported(
        folder=out,
        key=key_path,
        sheets=tuple(out / f"sheet-{rater}.csv" for rater in raters),
        rows=key.rows,
        equal=key.equal,
        shown=len(items),
    )


def read(paths: Sequence[Path], key_path: Path, *, margin: float = 0.0) -> Rated:
    """Read filled sheets (or folders of them) and judge whether B is no more than `margin` worse than A.

    The margin is a share of rows for choices, points for scores.
    """
    key = sheets.read_key(key_path)
    files = [sheet for path in paths for sheet in (sorted(path.glob("*.csv")) if path.is_dir() else [path])]
    if not files:
        raise DataError(f"No sheet in '{paths[0] if paths else ''}'.", fix="Name the filled sheets.")
    entries = [entry for path in files for entry in sheets.read(path, key)]
    twice = {(e.rater, e.line.code) for e in entries}
    if len(twice) < len(entries):
        raise DataError(
            f"{len(entries) - len(twice):,} lines come in two of these files.", fix="Name each sheet once."
        )
    lines = sum(len(key.sheets[rater]) for rater in {entry.rater for entry in entries})
    comparison, judged = (_choices if key.form == "choices" else _scores)(entries, key)
    names = (Path(key.a).name, Path(key.b).name) if Path(key.a).name != Path(key.b).name else (key.a, key.b)
    return Rated(
        form=key.form,
        a=key.a,
        b=key.b,
        raters=len({entry.rater for entry in entries}),
        judged=len(entries),
        missing=lines - len(entries),
        rows=key.rows,
        equal=key.equal,
        comparison=comparison,
        win_rate=win_rate(comparison) if key.form == "choices" else None,
        first=_first(entries) if key.form == "choices" else None,
        agreement=agreement(judged, measure="nominal" if key.form == "choices" else "interval"),
        verdict=non_inferior(comparison, margin, a=names[0], b=names[1], rows="judged rows"),
    )


Judged = Mapping[str, Mapping[str, float]]


def _choices(entries: Sequence[Entry], key: Key) -> tuple[Comparison, Judged]:
    """1 for B, −1 for A: a flipped line has B first."""
    judged: dict[str, dict[str, float]] = {}
    for e in entries:
        judged.setdefault(e.rater, {})[e.line.id] = -e.value if e.line.flipped else e.value
    return preferred(judged), judged


def _scores(entries: Sequence[Entry], key: Key) -> tuple[Comparison, Judged]:
    """Scores of A and of B apart; for the agreement each answer is a thing of its own."""
    sides: tuple[dict[str, dict[str, float]], dict[str, dict[str, float]]] = ({}, {})
    judged: dict[str, dict[str, float]] = {}
    for e in entries:
        sides[e.line.flipped].setdefault(e.rater, {})[e.line.id] = e.value
        judged.setdefault(e.rater, {})[f"{e.line.id} {e.line.flipped}"] = e.value
    return scored(*sides, scale=key.scale), judged


def _first(entries: Sequence[Entry]) -> Estimate | None:
    """How often the first of two was chosen, ties left out: half, unless raters lean to a side."""
    decided = [entry for entry in entries if entry.value]
    return wilson(sum(entry.value < 0 for entry in decided), len(decided)) if decided else None


def _item(example: Example, a: Record, b: Record) -> Item:
    return Item(id=example.id, input=example.text, a=a.raw, b=b.raw, reference=example.output)


def _examples(a: Path, b: Path, rows: Path | None) -> dict[str, Example]:
    """The rows by id, with what was asked: read for a bundle's task, else for the kind of the records."""
    bundle = next((open_bundle(path) for path in (a, b) if path.is_dir()), None)
    if bundle:
        found = labelled_rows(bundle, rows)[1]
    elif rows is None:
        raise DataError(
            f"'{a}' and '{b}' are records, which do not hold what was asked.",
            fix="Name the rows they were measured on: smallworks rate export A B ROWS --out FOLDER",
        )
    elif rows.is_dir():
        found = data.load(taskfile.load_task(rows)).test
    else:
        found = data.read_examples(_bare_task(records_of(a, None), rows), rows)[0]
    return {example.id: example for example in found}


def _bare_task(done: Sequence[Record], rows: Path) -> Task:
    kind = kind_of(done)
    return Task(
        name=rows.stem,
        kind=kind,
        instruction="",
        folder=rows.parent,
        data=DataFiles(train=rows),
        targets=Targets(metric=taskfile.METRICS[kind][0]),
    )


def _check(out: Path, most: int, raters: Sequence[str], scale: int | None) -> None:
    if most < 1:
        raise UserError(f"--rows {most} are none.", fix="Give a number from 1.")
    if scale is not None and not SCALES[0] <= scale <= SCALES[1]:
        raise UserError(f"--scale {scale} is not {SCALES[0]} to {SCALES[1]}.", fix="Try --scale 5.")
    bad = next((r for r in raters if not r.replace("-", "").replace("_", "").isalnum()), None)
    if bad is not None or not raters or len(set(raters)) < len(raters):
        raise UserError(
            f"--raters '{','.join(raters)}' are no different names of letters and digits.",
            fix="Write --raters anna,ben",
        )
