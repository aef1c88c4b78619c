"""Machines as they are described."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from smallworks.errors import UserError
from smallworks.select import described
from smallworks.select.machine import size_of


@pytest.mark.parametrize(
    ("text", "size"),
    [("8 GB", 8e9), ("4GB", 4e9), ("512MB", 5.12e8), ("6 GiB", 6 * 2**30), ("1.5 tb", 1.5e12), ("16g", 16e9)],
)
def test_a_size_is_read_as_people_write_it(text: str, size: float) -> None:
    assert size_of(text, option="--ram") == size


@pytest.mark.parametrize("text", ["", "much", "8 GBB", "-1 GB", "8", "0 GB"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(UserError, match=r"--gpu '.*' is not a size"):
        size_of(text, option="--gpu")


@pytest.mark.parametrize(
    ("asked", "memory", "trains"),
    [({"gpu": "8 GB"}, 7.2e9, True), ({"ram": "4GB"}, 3e9, True), ({"device": "phone"}, 3.2e9, False)],
)
def test_a_described_machine_has_a_share_of_its_memory_free(
    asked: dict[str, Any], memory: float, trains: bool
) -> None:
    machine = described(**asked)
    assert machine and (machine.memory, machine.trains, machine.speed) == (memory, trains, None)
    assert "its speed is not known" in machine.note


def test_nothing_described_is_no_machine() -> None:
    assert described() is None


def test_two_machines_are_one_too_many() -> None:
    with pytest.raises(UserError, match="--gpu 8 GB and --device phone describe two machines"):
        described(gpu="8 GB", device="phone")


def test_an_unknown_device_is_named_with_all_that_are_known() -> None:
    with pytest.raises(UserError, match="Valid: phone, laptop, board"):
        described(device="phon")


def test_what_doctor_wrote_elsewhere_is_a_machine(tmp_path: Path) -> None:
    path = tmp_path / "there.json"
    measured = {"memory_bytes": 5 * 10**9, "bandwidth": 2e10, "flops": 1e11, "threads": 4, "load": 0.1}
    path.write_text(json.dumps({"machine": {}, "measured": measured}))
    machine = described(machine=path)
    assert machine and machine.speed and (machine.memory, machine.speed.flops) == (5 * 10**9, 1e11)
    path.write_text("{}")
    with pytest.raises(UserError, match=r"smallworks doctor --json > there\.json"):
        described(machine=path)
