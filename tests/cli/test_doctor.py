"""`smallworks doctor`: what it measures, and that `recommend` can read it elsewhere."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from smallworks.cli import run
from smallworks.engines.speed import Speed
from smallworks.select import described


@pytest.fixture(autouse=True)
def measured(monkeypatch: pytest.MonkeyPatch) -> None:
    found = Speed(bandwidth=2.5e10, flops=1.5e11, threads=2)
    monkeypatch.setattr("smallworks.engines.speed.measure", lambda: found)


def test_the_speed_stands_among_what_the_machine_has(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["doctor"]) == 0
    assert "25.0 GB/s copied, 150 GFLOP/s multiplied on 2 threads" in capsys.readouterr().out


def test_what_it_writes_describes_the_machine_elsewhere(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["doctor", "--json"]) == 0
    path = tmp_path / "here.json"
    path.write_text(capsys.readouterr().out)
    machine = described(machine=path)
    assert machine and machine.speed == Speed(bandwidth=2.5e10, flops=1.5e11, threads=2)
    assert machine.memory == json.loads(path.read_text())["measured"]["memory_bytes"] > 0
