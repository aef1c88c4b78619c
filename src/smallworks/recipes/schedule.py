"""Checks that are run again and again: which are due, what each said, and whether its outcome has changed.

A schedule is a TOML file; what ran is appended to a history beside it. Knows no clock of its own: cron or
systemd calls it, as often as they like, and it runs what is due.
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import time
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from smallworks import files
from smallworks.errors import DataError, TaskError, nearest
from smallworks.recipes.served import PROGRAM
from smallworks.seams import Progress, silent

COMMANDS = ("evaluate", "compare", "gate", "safety", "verify", "bench")
"""What may be scheduled: commands that look and change nothing. Each takes --json but for those in PLAIN."""
PLAIN = ("verify",)
SECONDS = {"m": 60, "h": 3600, "d": 86_400, "w": 604_800}
EVERY = re.compile(r"(\d+)([mhdw])")
OUTCOMES = {0: "pass", 1: "fail", 2: "not run", 3: "inconclusive"}
KEYS = ("name", "every", "run")
PATIENCE_SECONDS = 86_400
"""A check that has not ended after a day hangs: it is stopped, so that the others are run again."""
LATEST = 2000
"""Characters of a failed check's own words that the history keeps."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """One line of the schedule: a command of ours with its arguments, every so many seconds."""

    name: str
    every: int
    run: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Ran:
    """One run in the history. `before` is the outcome of the run before it, None for the first."""

    name: str
    started: float
    seconds: float
    exit: int
    outcome: str
    before: str | None
    result: Any = None
    said: str = ""

    @property
    def changed(self) -> bool:
        return self.before is not None and self.before != self.outcome


def load(path: Path) -> tuple[Check, ...]:
    """The checks of a file. Raises TaskError that names the bad value and the check it stands in."""
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise TaskError(f"No schedule at '{path}'.", fix="Check the path.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise TaskError(f"'{path}' is not a TOML file: {error}.", fix="Mend that line.") from error
    unknown = next((key for key in raw if key != "check"), None)
    if unknown or not isinstance(raw.get("check"), list) or not raw["check"]:
        raise TaskError(
            f"'{path}' has '{unknown}'." if unknown else f"'{path}' holds no check.",
            fix='Write each as [[check]] with name = "nightly", every = "1d", run = "safety BUNDLE".',
        )
    checks = tuple(_check(path, entry) for entry in raw["check"])
    twice = next((c.name for at, c in enumerate(checks) if c.name in {o.name for o in checks[:at]}), None)
    if twice:
        raise TaskError(f"'{path}' has two checks called '{twice}'.", fix="Give each a name of its own.")
    return checks


def run_due(path: Path, *, everything: bool = False, progress: Progress = silent) -> tuple[Ran, ...]:
    """Run what is due, or everything, and append it to the history; nothing where another run is under way.

    Commands run in the schedule's folder, each in a process of its own. Raises UserError where this schedule
    is being run already.
    """
    checks, history = load(path), history_of(path)
    with files.lock(history.with_suffix(".lock"), "this schedule"):
        _mend(history)
        before = {ran.name: ran for ran in past(path)}
        now = time.time()
        due = [
            c for c in checks if everything or c.name not in before or now - before[c.name].started >= c.every
        ]
        done = []
        for number, check in enumerate(due):
            progress("checks", number, len(due), check.name)
            ran = _run(check, path.resolve().parent, before.get(check.name))
            _append(history, ran)
            done.append(ran)
        progress("checks", 1, 1, "done")
    return tuple(done)


def history_of(path: Path) -> Path:
    return path.with_suffix(".history.jsonl")


def past(path: Path) -> list[Ran]:
    """What ran so far, oldest first. Raises DataError for a line that is no run."""
    history = history_of(path)
    if not history.exists():
        return []
    try:
        return [Ran(**row) for row in files.read_jsonl(history)]
    except TypeError as error:
        raise DataError(
            f"'{history}' holds a line that is no run: {error}.", fix="Delete that line."
        ) from error


def crontab(path: Path) -> str:
    """A line for `crontab -e`: look every ten minutes whether something is due."""
    command = shlex.join(_program(path)).replace("%", r"\%")  # a bare one ends the command
    return f"*/10 * * * * {command}\n"


def systemd(path: Path) -> dict[str, str]:
    """The two unit files by name, for ~/.config/systemd/user."""
    name = f"smallworks-{re.sub(r'[^a-z0-9]+', '-', path.stem.casefold()).strip('-')}"
    first, *rest = map(_quoted, _program(path))
    program = " ".join([first, *(part.replace("$", "$$") for part in rest)])  # the first has no variables
    shown = path.name.replace("%", "%%")
    # 1 and 3 are verdicts, not broken units.
    service = f"[Unit]\nDescription=Smallworks checks of {shown}\n\n[Service]\nType=oneshot\nNice=10\n"
    service += f"SuccessExitStatus=1 3\nExecStart={program}\n"
    timer = f"[Unit]\nDescription=Due checks of {shown}\n\n[Timer]\nOnCalendar=*:0/10\nPersistent=true\n\n"
    timer += "[Install]\nWantedBy=timers.target\n"
    return {f"{name}.service": service, f"{name}.timer": timer}


def _quoted(part: str) -> str:
    """As systemd.service(5) and systemd.unit(5) want a word of a command."""
    escaped = part.replace("\\", r"\\").replace('"', r"\"").replace("%", "%%")
    return f'"{escaped}"'


def _program(path: Path) -> list[str]:
    return [*PROGRAM, "schedule", str(path.resolve())]


def _check(path: Path, entry: Any) -> Check:
    if not isinstance(entry, dict) or set(entry) != set(KEYS):
        wrong = next((key for key in entry if key not in KEYS), None) if isinstance(entry, dict) else entry
        missing = [key for key in KEYS if isinstance(entry, dict) and key not in entry]
        what = f"has '{wrong}'" if wrong else f"lacks {', '.join(missing)}"
        raise TaskError(f"A check in '{path}' {what}.", fix=f"Give each {', '.join(KEYS)}, and nothing else.")
    name, found = str(entry["name"]), EVERY.fullmatch(str(entry["every"]))
    if not found or int(found[1]) < 1:
        raise TaskError(
            f"Check '{name}' runs every '{entry['every']}'.", fix="Write it as 30m, 6h, 1d or 1w."
        )
    run = shlex.split(entry["run"]) if isinstance(entry["run"], str) else [str(part) for part in entry["run"]]
    if not run or run[0] not in COMMANDS:
        first = run[0] if run else ""
        raise TaskError(f"Check '{name}' runs '{first}'.", fix=nearest(first, COMMANDS))
    return Check(name=name, every=int(found[1]) * SECONDS[found[2]], run=tuple(run))


def _run(check: Check, folder: Path, before: Ran | None) -> Ran:
    json_too = () if check.run[0] in PLAIN or "--json" in check.run else ("--json",)
    command = [*PROGRAM, *check.run, *json_too]
    started = time.time()
    code, out, said = _ended(command, folder)
    return Ran(
        name=check.name,
        started=round(started, 3),
        seconds=round(time.time() - started, 3),
        exit=code,
        outcome=OUTCOMES.get(code, "not run"),
        before=before.outcome if before else None,
        result=_parsed(out),
        said="" if code == 0 else said[-LATEST:],
    )


def _ended(command: Sequence[str], folder: Path) -> tuple[int, str, str]:
    """The exit code of a command and what it printed; 2 for one that was stopped because it hung."""
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=PATIENCE_SECONDS,
        )
    except subprocess.TimeoutExpired:
        return 2, "", f"Stopped: it had not ended after {PATIENCE_SECONDS:,} seconds."
    return done.returncode, done.stdout, done.stderr


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def _append(history: Path, ran: Ran) -> None:
    """One line, written at once."""
    line = json.dumps(asdict(ran), ensure_ascii=False) + "\n"
    try:
        with history.open("a", encoding="utf-8") as file:
            file.write(line)
    except OSError as error:
        raise files.unwritable(history, error) from error


def _mend(history: Path) -> None:
    """Take off a last line that a kill tore: that check did not run, and is due again."""
    try:
        with history.open("r+b") as file:
            file.truncate(sum(len(line) for line in file if line.endswith(b"\n")))
    except FileNotFoundError:
        return
    except OSError as error:
        raise files.unwritable(history, error) from error


def worst(done: Sequence[Ran]) -> int:
    """The exit code of several runs: fail before not run before inconclusive before pass."""
    return next((code for code in (1, 2, 3) if any(ran.exit == code for ran in done)), 0)


def summary(done: Sequence[Ran]) -> list[Mapping[str, Any]]:
    """The runs without their results, as `--json` prints them."""
    return [
        {**{k: v for k, v in asdict(ran).items() if k != "result"}, "changed": ran.changed} for ran in done
    ]
