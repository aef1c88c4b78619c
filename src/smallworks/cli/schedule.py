"""`smallworks schedule`: run the checks of a file that are due, and keep what they said."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from smallworks.cli import talk
from smallworks.recipes import schedule as recipe


def schedule(
    file: Path, /, *, now: bool = False, unit: Literal["cron", "systemd"] | None = None, json: bool = False
) -> int:
    """Run what is due, append it to FILE's history, and exit with the worst outcome: 0, 1, 2 or 3.

    Parameters
    ----------
    file
        A TOML file of [[check]] tables: name, every (30m, 6h, 1d, 1w), run (a command of ours).
    now
        Run every check, due or not.
    unit
        Run nothing: print a crontab line (cron), or write the unit files beside FILE (systemd).
    json
        One JSON document on stdout.
    """
    if unit:
        recipe.load(file)
        return _unit(file, unit)
    with talk.progress() as progress:
        done = recipe.run_due(file, everything=now, progress=progress)
    if json:
        talk.print_json(recipe.summary(done))
        return recipe.worst(done)
    for ran in done:
        changed = f"  (was {ran.before})" if ran.changed else ""
        talk.say(f"{ran.outcome:<13} {ran.name}  {ran.seconds:.1f} s{changed}")
        if ran.exit == 2:
            talk.remark(ran.said.strip().rpartition("\n")[2])
    if not done:
        talk.remark("Nothing is due. Run all of it with --now.")
    return recipe.worst(done)


def _unit(file: Path, unit: Literal["cron", "systemd"]) -> int:
    from smallworks import files

    if unit == "cron":
        talk.say(recipe.crontab(file).rstrip())
        return 0
    written = recipe.systemd(file)
    for name, text in written.items():
        files.write_text(file.parent / name, text)
        talk.say(str(file.parent / name))
    timer = next(name for name in written if name.endswith(".timer"))
    home = "~/.config/systemd/user"
    talk.remark(f"Next: cp these to {home}, then: systemctl --user enable --now {timer}")
    return 0
