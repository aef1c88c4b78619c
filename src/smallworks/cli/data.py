"""`smallworks data`: check, clean and split the rows of a task or of a bare file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from rich.markup import escape

from smallworks import data as stage
from smallworks.cli import talk
from smallworks.errors import UserError
from smallworks.types import Task

Action = Literal["check", "clean", "split"]
SHOWN = {"error": "red", "warning": "yellow", "info": "dim"}
FOR: Mapping[str, tuple[Action, ...]] = {
    "--out": ("clean", "split"),
    "--force": ("clean", "split"),
    "--mask": ("clean",),
    "--group": ("split",),
    "--by-time": ("split",),
}
"""Which action takes which option; --json is for all."""
HOPED = 0.02
"""The advice on test rows is for a candidate so far above the target."""


def data(
    action: Action,
    source: Path,
    /,
    *,
    out: Path | None = None,
    mask: bool = False,
    group: str | None = None,
    by_time: str | None = None,
    force: bool = False,
    json: bool = False,
) -> int:
    """Say what is wrong with the rows (check), write them without it (clean), or divide them (split).

    Parameters
    ----------
    action
        check, clean or split.
    source
        A task's folder or task.toml, or a data file whose columns have usual names.
    out
        clean: the file for the rows that stay (.jsonl, .csv, .tsv). split: the folder for the three files.
    mask
        clean: put pseudonyms such as <EMAIL_1> in the place of personal data.
    group
        split: keep the rows of one group, such as a customer, together; names the column.
    by_time
        split: train on the earlier rows, test on the latest; names the column.
    force
        clean, split: replace files that are already there.
    json
        One JSON document on stdout.
    """
    given = {"--out": out, "--mask": mask, "--group": group, "--by-time": by_time, "--force": force}
    _refuse_strays(action, given)
    task = stage.open_source(source)
    if action == "check":
        return _check(task, json)
    if out is None:
        fix = {"clean": "Name a file: --out clean.jsonl", "split": "Name a folder: --out data"}[action]
        raise UserError(f"'data {action}' was not told where to write '{task.data.train.name}'.", fix=fix)
    if action == "clean":
        _clean(task, out, mask, force, json)
    else:
        _split(task, out, group, by_time, force, json)
    return 0


def _refuse_strays(action: Action, given: Mapping[str, object]) -> None:
    for option, value in given.items():
        if value and action not in FOR[option]:
            raise UserError(
                f"{option} has no meaning for 'data {action}'.",
                fix=f"Leave it out; it is for: data {', data '.join(FOR[option])}.",
            )


def _check(task: Task, json: bool) -> int:
    """Exit 0, or 1 when there is something that a build would refuse."""
    with talk.progress() as progress:
        found = stage.inspect(task, progress)
    report, advice = found.report, _advice(task, found.report.sizes)
    mend = bool(report.errors)
    if json:
        talk.print_json(
            {
                "task": task.name,
                "kind": task.kind,
                "sizes": report.sizes,
                "classes": report.classes,
                "columns": report.columns,
                "notices": [asdict(notice) for notice in report.notices],
                "personal": found.survey.personal,
                "test_rows_needed": advice,
                "must_mend": mend,
            }
        )
        return int(mend)
    sizes = ", ".join(f"{count:,} {part}" for part, count in report.sizes.items())
    talk.say(f"{task.name} ({task.kind}): {sizes} rows after checks")
    for name, shape in report.columns.items():
        talk.say(f"{name}: {shape}", style="dim")
    _show(report.notices)
    _show_personal(found.survey.personal)
    if advice:
        wanted, hoped = task.targets.at_least or 0, _hoped(task.targets.at_least or 0)
        talk.say(
            f"test rows: about {advice:,} show {task.targets.metric} {wanted:g} for a candidate at {hoped:g};"
            f" there are {report.sizes['test']:,}"
        )
    talk.say("something must be mended before a build" if mend else "nothing must be mended before a build")
    return int(mend)


def _clean(task: Task, out: Path, mask: bool, force: bool, json: bool) -> None:
    with talk.progress() as progress:
        done = stage.clean(task, out, mask=mask, force=force, progress=progress)
    reasons = Counter(removal.reason for removal in done.survey.removals.values())
    if json:
        talk.print_json(
            {
                "out": done.out,
                "removed": done.removed,
                "rows": done.survey.rows,
                "kept": done.kept,
                "reasons": reasons,
                "notices": [asdict(notice) for notice in done.survey.notices],
                "personal": done.survey.personal,
                "pseudonyms": done.pseudonyms,
            }
        )
        return
    talk.say(f"kept {done.kept:,} of {done.survey.rows:,} rows  {done.out}")
    why = ", ".join(f"{count:,} {reason}" for reason, count in reasons.most_common()) or "none"
    talk.say(f"removed: {why}  {done.removed}")
    _show(done.survey.notices)
    if mask:
        said = ", ".join(f"{count:,} {kind}" for kind, count in done.pseudonyms.items()) or "nothing found"
        talk.say(f"masked: {said}")
    elif any(done.survey.personal.values()):
        _show_personal(done.survey.personal)
        talk.remark("[dim]They were written as they are; --mask puts pseudonyms in their place.[/dim]")


def _split(task: Task, out: Path, group: str | None, by_time: str | None, force: bool, json: bool) -> None:
    done = stage.divide(task, out, group=group, by_time=by_time, force=force)
    if json:
        talk.print_json(
            {
                "files": done.files,
                "sizes": done.sizes,
                "how": done.how,
                "notices": [asdict(notice) for notice in done.notices],
            }
        )
        return
    talk.say(f"split {done.how}")
    for part, path in done.files.items():
        talk.say(f"{part:<12}{done.sizes[part]:>9,} rows  {path}")
    _show(done.notices)


def _show(notices: Sequence[stage.Notice]) -> None:
    for notice in notices:
        mark = SHOWN[notice.severity]
        talk.out.print(
            f"[{mark}]{notice.severity:<8}[/] {escape(notice.sentence)} [dim]{escape(notice.fix)}[/]",
            highlight=False,
            soft_wrap=True,
        )


def _show_personal(personal: Mapping[str, Mapping[str, Mapping[str, int]]]) -> None:
    for file, kinds in personal.items():
        if kinds:
            found = (f"{n['finds']:,} {kind} (rows: {n['rows']:,})" for kind, n in kinds.items())
            talk.say(f"personal data in '{file}': {', '.join(found)}")


def _hoped(target: float) -> float:
    return round(min(target + HOPED, (1 + target) / 2), 4)


def _advice(task: Task, sizes: Mapping[str, Any]) -> int | None:
    """Test rows that would show the target for a candidate a little above it; None without such a target."""
    from smallworks.evaluate.metrics import METRICS
    from smallworks.evaluate.verdict import against_target
    from smallworks.types import Estimate

    target, metric = task.targets.at_least, task.targets.metric
    if not target or target >= 1 or not METRICS[metric].proportion:
        return None
    hoped = _hoped(target)
    verdict = against_target(Estimate(value=hoped, low=0, high=1, n=1), target, metric=metric)
    return verdict.rows_needed and verdict.rows_needed + 1
