"""What forms are fitted on: training rows as the bundle's own prompt has them, and never a test row."""

from __future__ import annotations

from pathlib import Path

import pytest

from smallworks import data
from smallworks.bundle import Bundle
from smallworks.engines.opening import TOKENIZER
from smallworks.errors import UserError
from smallworks.prompt import TextTokenizer
from smallworks.recipes import samples as here
from smallworks.recipes.samples import samples
from smallworks.types import Task


def test_they_are_training_rows_with_their_answers_and_no_test_rows(
    adapted: Bundle, small_task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = TextTokenizer.load(adapted.file(TOKENIZER)).inner
    said = [words.decode(ids, skip_special_tokens=False) for ids in samples(adapted, None)]
    splits = data.load(small_task)
    assert len(said) == here.ROWS < len(splits.train) and all(
        any(e.text in row for e in splits.train) for row in said
    )
    assert not any(e.text in row for row in said for e in (*splits.test, *splits.validation))
    assert all(row.startswith("<|im_start|>user\nName the kind") for row in said)
    assert all(row[-11:] in {f"{code}<|im_end|>" for code in "ABC"} for row in said)
    monkeypatch.setattr(here, "ROWS", 8)
    few = samples(adapted, small_task.folder)
    assert few == samples(adapted, small_task.folder / "test.csv") and len(few) == 8


def test_without_a_task_there_are_none(adapted: Bundle, tmp_path: Path) -> None:
    moved = Bundle(path=tmp_path / "bundles" / adapted.name, id=adapted.id, manifest=adapted.manifest)
    with pytest.raises(UserError, match=r"fitted on training rows, and .* holds no task\.toml.*--task"):
        samples(moved, tmp_path / "rows.csv")
