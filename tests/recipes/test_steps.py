"""Steps: done once for the same inputs, again for others, again when they broke off."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from smallworks.errors import DataError
from smallworks.recipes.steps import Steps
from smallworks.seams import silent


def counting(done: list[Path], result: Any = 1) -> Callable[[Path], Any]:
    def work(folder: Path) -> Any:
        done.append(folder)
        return result

    return work


def test_a_step_is_done_once_for_the_same_inputs(tmp_path: Path) -> None:
    done: list[Path] = []
    for _ in range(2):
        steps = Steps(tmp_path, silent)
        assert steps.run("fit", {"a": 1, "b": [2]}, counting(done, {"x": [1, None]})) == {"x": [1, None]}
        assert steps.seconds["fit"] >= 0
    assert len(done) == 1


@pytest.mark.parametrize("reads", [{"a": 2}, {"a": "1"}, {"a": 1, "b": None}, {}])
def test_other_inputs_are_another_step(tmp_path: Path, reads: dict[str, Any]) -> None:
    done: list[Path] = []
    steps = Steps(tmp_path, silent)
    steps.run("fit", {"a": 1}, counting(done))
    steps.run("fit", reads, counting(done))
    steps.run("tune", {"a": 1}, counting(done))
    assert len(set(done)) == 3


def test_a_step_that_broke_off_goes_on_in_its_folder(tmp_path: Path) -> None:
    def broken(folder: Path) -> Any:
        (folder / "checkpoint").write_text("half")
        raise DataError("The child died.", fix="Try again.")

    steps = Steps(tmp_path, silent)
    with pytest.raises(DataError):
        steps.run("tune", {}, broken)
    assert "tune" not in steps.seconds
    assert steps.run("tune", {}, lambda folder: (folder / "checkpoint").read_text()) == "half"


def test_a_step_that_is_forgotten_is_done_again(tmp_path: Path) -> None:
    done: list[Path] = []
    steps = Steps(tmp_path, silent)
    for _ in range(2):
        steps.run("fit", {}, counting(done))
        steps.forget("fit", {})
        steps.forget("fit", {})
    assert len(done) == 2


def test_a_step_that_is_reused_keeps_the_time_that_it_took(tmp_path: Path) -> None:
    Steps(tmp_path, silent).run("fit", {}, counting([]))
    (done,) = tmp_path.glob("*/done.json")
    done.write_text('{"seconds": 12.5, "reads": {}, "result": 1}')
    again = Steps(tmp_path, silent)
    again.run("fit", {}, counting([]))
    assert again.seconds["fit"] == 12.5


def test_progress_tells_of_work_and_not_of_reuse(tmp_path: Path) -> None:
    told: list[tuple[str, float]] = []
    for _ in range(2):
        Steps(tmp_path, lambda step, done, *_: told.append((step, done))).run("fit", {}, counting([]))
    assert told == [("fit", 0), ("fit", 1)]
