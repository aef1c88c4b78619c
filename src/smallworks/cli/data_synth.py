"""What `smallworks data synth` asks for and shows: rows kept, rows set apart and why, how varied they are."""

from __future__ import annotations

from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from smallworks import taskfile
from smallworks.cli import talk
from smallworks.cli.data_label import Asking, limits_of, ordered, show_dry_run, spent, target_of, teller

if TYPE_CHECKING:
    from smallworks.recipes.synth import Synthesis

COUNT = 200


def synth(source: Path, out: Path | None, asking: Asking, *, force: bool, json: bool) -> None:
    from smallworks import data
    from smallworks.recipes import synth as recipe
    from smallworks.recipes.teacher import open_teacher

    task, limits = taskfile.load_task(source), limits_of(asking)
    target = target_of("synth", task.name, out, asking)
    splits = data.load(task)
    with closing(open_teacher(task, splits.labels, asking.teacher)) as teacher:
        bench = recipe.bench_of(task, splits, teacher, count=asking.count or COUNT)
        if target is None:
            show_dry_run(recipe.forecast(bench), free=teacher.kind == "bundle", json=json)
            return
        with talk.progress() as progress:
            tell = teller(teacher.kind)
            done = recipe.synth(bench, target, limits=limits, force=force, tell=tell, progress=progress)
    _show(done, json)


def _show(done: Synthesis, json: bool) -> None:
    if json:
        talk.print_json(asdict(done))
        return
    talk.say(f"kept {done.kept:,} of {done.written:,} new rows  {done.out}")
    for reason, count in ordered(done.reasons):
        talk.say(f"  {count:>7,}  {reason}")
    if done.reasons:
        talk.say(f"set apart with their reasons: {done.apart}")
    if done.labels:
        talk.say("labels: " + ", ".join(f"{name} {count:,}" for name, count in ordered(done.labels)))
    if done.agreement is not None:
        talk.say(f"second pass: agreed on {done.agreement:.1%}")
    talk.say(f"too much like another row: {done.near:.1%} of all that were written")
    if done.variety.rows:
        new, training = (", ".join(f"{x:.3f}" for x in s) for s in (done.variety.new, done.variety.training))
        talk.say(f"distinct 1-, 2-, 3-grams of {done.variety.rows:,} rows: {new} new, {training} training")
    if done.kept < done.wanted:
        why = "the budget is spent" if done.end == "budget" else done.end
        talk.say(f"{done.wanted - done.kept:,} fewer than asked for: {why}")
    talk.say(spent(done.asked, done.spent_here, done.spent))
    if done.kept:
        talk.remark(f'To train on them: [data] synthetic = "{done.out}" in task.toml.'.replace("[", "\\["))
