"""`smallworks data`: check, clean and split the rows of a task or of a bare file; label and write rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter
from rich.markup import escape

from smallworks import data as stage
from smallworks.cli import data_label, data_synth, talk
from smallworks.cli.data_label import Asking
from smallworks.errors import DataError, UserError, install
from smallworks.seams import Progress
from smallworks.types import Task

if TYPE_CHECKING:
    from smallworks.recipes.suspects import Suspect
    from smallworks.text.personal import Namer

Action = Literal["check", "clean", "split", "label", "synth"]
SHOWN = {"error": "red", "warning": "yellow", "info": "dim"}
TAUGHT: tuple[Action, ...] = ("label", "synth")
FOR: Mapping[str, tuple[Action, ...]] = {
    "--out": ("clean", "split", *TAUGHT),
    "--force": ("clean", "split", *TAUGHT),
    "--suspects": ("check",),
    "--mask": ("clean",),
    "--names": ("check", "clean"),
    "--language": ("clean",),
    "--group": ("split",),
    "--by-time": ("split",),
    "ROWS": ("label",),
    "--twice": ("label",),
    "--limit": ("label",),
    "--count": ("synth",),
    "--teacher": TAUGHT,
    "--budget": TAUGHT,
    "--at-once": TAUGHT,
    "--per-minute": TAUGHT,
    "--dry-run": TAUGHT,
}
"""Which action takes which option; --json is for all."""
SUSPECTS = 20
"""Doubtful labels that are listed, the most doubtful ones."""
HOPED = 0.02
"""The advice on test rows is for a candidate so far above the target."""


def data(
    action: Action,
    source: Path,
    rows: Path | None = None,
    /,
    *,
    out: Path | None = None,
    suspects: bool = False,
    mask: bool = False,
    names: str | None = None,
    language: str | None = None,
    group: str | None = None,
    by_time: str | None = None,
    asking: Annotated[Asking, Parameter(name="*")] = Asking(),  # noqa: B008
    force: bool = False,
    json: bool = False,
) -> int:
    """Look at rows (check), clean, divide (split) or label them, or have new ones written (synth).

    Parameters
    ----------
    action
        check, clean, split, label or synth.
    source
        A task's folder or task.toml; for check, clean and split also a data file with usual columns.
    rows
        label: the file whose rows have no output yet.
    out
        clean: the file for the rows that stay (.jsonl, .csv, .tsv). split: the folder for the three files.
        label, synth: the file for the rows (.jsonl).
    suspects
        check: fit a linear model to find rows whose label is most improbable; takes minutes on many rows.
    mask
        clean: put pseudonyms such as <EMAIL_1> in the place of personal data.
    names
        check: count names of people, places and organisations too; clean --mask: mask them. A
        token-classification model that tells them: a folder or a hub id.
    language
        clean: take out the rows that are surely in another language than this, such as en.
    group
        split: keep the rows of one group, such as a customer, together; names the column.
    by_time
        split: train on the earlier rows, test on the latest; names the column.
    force
        All but check: replace files that are already there.
    json
        One JSON document on stdout.
    """
    given = {"--out": out, "--mask": mask, "--group": group, "--by-time": by_time, "--force": force}
    given |= {"ROWS": rows, "--language": language, "--suspects": suspects, "--names": names}
    _refuse_strays(action, given | asking.given())
    if action == "label":
        data_label.label(source, rows, out, asking, force=force, json=json)
        return 0
    if action == "synth":
        data_synth.synth(source, out, asking, force=force, json=json)
        return 0
    task = stage.open_source(source)
    if action == "check":
        return _check(task, suspects, names, json)
    if out is None:
        fix = {"clean": "Name a file: --out clean.jsonl", "split": "Name a folder: --out data"}[action]
        raise UserError(f"'data {action}' was not told where to write '{task.data.train.name}'.", fix=fix)
    if action == "clean":
        _clean(task, out, mask, names, language, force, json)
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


def _check(task: Task, suspects: bool, names: str | None, json: bool) -> int:
    """Exit 0, or 1 when there is something that a build would refuse."""
    with talk.progress() as progress:
        found = stage.inspect(task, progress, namer=_namer(names, progress))
        doubted = _doubted(task, found, progress) if suspects else None
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
                "languages": found.survey.languages,
                "suspects": None if doubted is None else [asdict(one) for one in doubted],
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
    _show_languages(found.survey.languages)
    if doubted is not None:
        _show_suspects(doubted)
    if advice:
        wanted, hoped = task.targets.at_least or 0, _hoped(task.targets.at_least or 0)
        talk.say(
            f"test rows: about {advice:,} show {task.targets.metric} {wanted:g} for a candidate at {hoped:g};"
            f" there are {report.sizes['test']:,}"
        )
    talk.say("something must be mended before a build" if mend else "nothing must be mended before a build")
    return int(mend)


def _namer(ref: str | None, progress: Progress) -> Namer | None:
    from smallworks.recipes.names import open_names

    return open_names(ref, progress=progress) if ref else None


def _clean(
    task: Task, out: Path, mask: bool, names: str | None, language: str | None, force: bool, json: bool
) -> None:
    if names and not mask:
        raise UserError("--names has no meaning for 'data clean' without --mask.", fix="Add --mask.")
    with talk.progress() as progress:
        done = stage.clean(
            task,
            out,
            mask=mask,
            namer=_namer(names, progress),
            language=language,
            force=force,
            progress=progress,
        )
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


def _doubted(task: Task, found: stage.Inspection, progress: Progress) -> tuple[Suspect, ...]:
    from smallworks.recipes.suspects import find

    if found.report.errors:
        raise DataError(found.report.errors[0].sentence, fix="Mend that first, or leave out --suspects.")
    return find(task, stage.load(task), progress)


def _show_suspects(found: Sequence[Suspect]) -> None:
    talk.say(f"doubtful labels: {len(found):,} rows, for a look; none was changed")
    for one in found[:SUSPECTS]:
        doubt = f"{one.given} ({one.p_given:.3f}), rather {one.likely} ({one.p_likely:.2f})"
        talk.say(f"  {one.file} row {one.row}: {doubt}  {one.text}")
    if len(found) > SUSPECTS:
        talk.say(f"  and {len(found) - SUSPECTS:,} more: --json lists them all")


def _show_languages(languages: Mapping[str, int] | None) -> None:
    if languages is None:
        talk.remark(f"[dim]Languages were not looked at: {escape(install('data'))}[/dim]")
        return
    counts = sorted(languages.items(), key=lambda pair: -pair[1])
    talk.say("languages: " + ", ".join(f"{code or 'cannot be told'} {count:,}" for code, count in counts))


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
