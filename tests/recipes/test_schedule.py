"""A schedule: what is due runs as a user would run it, and its history tells what has changed."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from smallworks import files
from smallworks.cli import run
from smallworks.errors import TaskError, UserError
from smallworks.evaluate import records
from smallworks.recipes import schedule
from smallworks.types import ExampleId, Record

FILE = """
[[check]]
name = "good enough"
every = "1d"
run = "gate records.jsonl --at-least 0.5"
"""


def write_records(path: Path, right: int, of: int = 40) -> None:
    usual = Record(
        example_id=ExampleId(""),
        prompt_hash="",
        expected="a",
        raw="a",
        parsed="a",
        lenient="a",
        scores={},
        tokens_in=1,
        tokens_out=1,
        ms=1.0,
    )
    score = [{"accuracy": float(n < right), "accuracy_lenient": float(n < right)} for n in range(of)]
    rows = [replace(usual, example_id=ExampleId(str(n)), scores=scores) for n, scores in enumerate(score)]
    records.write(path, rows)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    write_records(tmp_path / "records.jsonl", right=38)
    path = tmp_path / "nightly.toml"
    path.write_text(FILE)
    return path


def test_a_check_runs_once_a_period_and_its_change_is_told(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["schedule", str(file)]) == 0
    assert "pass" in capsys.readouterr().out
    assert run(["schedule", str(file), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []  # not due for a day
    write_records(tmp_path / "records.jsonl", right=2)
    assert run(["schedule", str(file), "--now", "--json"]) == 1
    (ran,) = json.loads(capsys.readouterr().out)
    assert (ran["outcome"], ran["before"], ran["changed"]) == ("fail", "pass", True)
    kept = schedule.past(file)
    assert [one.outcome for one in kept] == ["pass", "fail"]
    assert kept[0].result["verdict"]["outcome"] == "pass" and kept[0].result["at_least"] == 0.5


def test_what_was_due_long_ago_is_due_again(file: Path) -> None:
    ran = schedule.Ran(
        name="good enough", started=time.time() - 90_000, seconds=1.0, exit=1, outcome="fail", before=None
    )
    files.write_jsonl(schedule.history_of(file), [vars(ran)])
    assert [(one.before, one.changed) for one in schedule.run_due(file)] == [("fail", True)]


def test_a_check_that_cannot_run_says_why_and_the_others_go_on(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = '[[check]]\nname = "gone"\nevery = "30m"\nrun = ["verify", "no-such-bundle"]\n'
    file.write_text(broken + FILE)
    assert run(["schedule", str(file)]) == 2
    said = capsys.readouterr()
    assert "not run" in said.out and "pass" in said.out and "no-such-bundle" in said.err


def test_two_runs_at_once_are_one_too_many(file: Path) -> None:
    with (
        files.lock(schedule.history_of(file).with_suffix(".lock"), "this schedule"),
        pytest.raises(UserError, match="Another process works on this schedule"),
    ):
        schedule.run_due(file)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "holds no check"),
        ("[task]\nname = 'x'", "has 'task'"),
        (FILE.replace("1d", "daily"), "'good enough' runs every 'daily'.*30m, 6h, 1d"),
        (FILE.replace("gate", "gates"), "runs 'gates'.*'gate'"),
        (FILE.replace('run = "gate', 'run = "build'), "runs 'build'"),
        (FILE.replace("every", "evry"), "has 'evry'"),
        (FILE.replace('every = "1d"\n', ""), "lacks every"),
        (FILE + FILE, "two checks called 'good enough'"),
        ("[[check", "not a TOML file"),
    ],
)
def test_a_mistake_in_the_file_is_named(text: str, said: str, file: Path) -> None:
    file.write_text(text)
    with pytest.raises(TaskError, match=said):
        schedule.load(file)


def test_the_crontab_line_is_a_command_that_runs(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["schedule", str(file), "--unit", "cron"]) == 0
    command = capsys.readouterr().out.strip().removeprefix("*/10 * * * * ")
    assert shlex.split(command)[0] == sys.executable
    done = subprocess.run(["sh", "-c", command], cwd="/", capture_output=True, text=True)
    assert done.returncode == 0 and "pass" in done.stdout


def test_the_units_are_written_and_run_the_same_command(file: Path, tmp_path: Path) -> None:
    assert run(["schedule", str(file), "--unit", "systemd"]) == 0
    service, timer = (tmp_path / f"smallworks-nightly.{kind}" for kind in ("service", "timer"))
    start = next(line for line in service.read_text().splitlines() if line.startswith("ExecStart="))
    assert shlex.split(start.removeprefix("ExecStart=")) == shlex.split(
        schedule.crontab(file).removeprefix("*/10 * * * * ")
    )
    assert "SuccessExitStatus=1 3" in service.read_text() and "OnCalendar=" in timer.read_text()
    if verify := shutil.which("systemd-analyze"):
        command = [verify, "verify", "--user", str(service), str(timer)]
        done = subprocess.run(command, capture_output=True, env={"XDG_RUNTIME_DIR": str(tmp_path)})
        assert done.returncode == 0, done.stderr


ODD = '50% "new" $HOME \\.toml'


def test_signs_of_cron_and_systemd_in_a_path_are_no_signs(file: Path, tmp_path: Path) -> None:
    odd = file.rename(tmp_path / ODD)
    line = schedule.crontab(odd).strip()
    assert re.findall(r"(?<!\\)%", line) == []  # cron makes a line end of it
    command = line.replace(r"\%", "%").removeprefix("*/10 * * * * ")  # as cron passes it on to sh
    assert shlex.split(command)[-1] == str(odd)
    service, timer = schedule.systemd(odd).values()
    start = next(line for line in service.splitlines() if line.startswith("ExecStart="))
    assert start.endswith(r'/50%% \"new\" $$HOME \\.toml"')
    assert all("Description=" in unit and "50%% " in unit and "50% " not in unit for unit in (service, timer))


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd here")
def test_systemd_takes_the_units_of_such_a_path(file: Path, tmp_path: Path) -> None:
    odd = file.rename(tmp_path / ODD)
    for name, text in schedule.systemd(odd).items():
        (tmp_path / name).write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--user", *map(str, sorted(tmp_path.glob("smallworks-*")))],
        capture_output=True,
        text=True,
        env={"XDG_RUNTIME_DIR": str(tmp_path)},
    )
    assert done.returncode == 0 and "Ignoring" not in done.stderr, done.stderr


def test_a_line_that_a_kill_tore_is_taken_off_and_its_check_is_due(file: Path) -> None:
    assert [ran.outcome for ran in schedule.run_due(file)] == ["pass"]
    history = schedule.history_of(file)
    whole = history.read_bytes()
    history.write_bytes(whole + whole[: len(whole) // 2])
    assert schedule.run_due(file) == ()
    assert history.read_bytes() == whole
    history.write_bytes(whole[:-1])
    assert len(schedule.run_due(file)) == 1 and len(schedule.past(file)) == 1


def test_a_check_that_hangs_is_stopped_and_bytes_that_are_no_text_are_read(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = "import sys, time; sys.stderr.buffer.write(b'caf\\xe9'); time.sleep(30)"
    monkeypatch.setattr(schedule, "PROGRAM", (sys.executable, "-c", slow))
    monkeypatch.setattr(schedule, "PATIENCE_SECONDS", 0.3)
    (ran,) = schedule.run_due(file)
    assert (ran.outcome, ran.exit) == ("not run", 2) and "Stopped" in ran.said
    monkeypatch.setattr(
        schedule, "PROGRAM", (sys.executable, "-c", slow.replace("time.sleep(30)", "exit(2)"))
    )
    (ran,) = schedule.run_due(file, everything=True)
    assert (ran.exit, ran.said) == (2, "caf\ufffd")
