"""A sample task becomes a folder of the user's own, and what is in it already is kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from smallworks import data, starter
from smallworks.errors import TaskError
from smallworks.recipes.sample import lay_out


@pytest.mark.parametrize("name", starter.TASKS)
def test_a_sample_task_is_whole_in_its_new_folder(tmp_path: Path, name: str) -> None:
    task = lay_out(name, tmp_path / "mine" / name)
    assert task.folder == tmp_path / "mine" / name
    assert task.data.train.parent == task.folder
    splits = data.load(task)
    assert len(splits.train) + len(splits.validation) + len(splits.test) >= 600
    assert not splits.report.errors


def test_files_of_the_user_are_kept(tmp_path: Path) -> None:
    lay_out("tickets", tmp_path)
    path = tmp_path / "task.toml"
    path.write_text(path.read_text().replace('name = "tickets"', 'name = "mine"'))
    assert lay_out("tickets", tmp_path).name == "mine"


def test_an_unknown_sample_gets_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match="'ticket'") as caught:
        lay_out("ticket", tmp_path / "new")
    assert "'tickets'" in caught.value.fix and not (tmp_path / "new").exists()
