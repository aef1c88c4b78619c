"""A task over files written by the test, and the shared real data where they are at hand."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

from smallworks import data
from smallworks.types import BuildOptions, Columns, DataFiles, Kind, Targets, Task

MakeTask = Callable[..., Task]


def rows_of(classes: Mapping[str, int]) -> list[dict[str, str]]:
    return [{"text": f"{label} {i}", "label": label} for label, n in classes.items() for i in range(n)]


ENOUGH = rows_of({"bug": 30, "idea": 30})


def row(text: str, label: str) -> dict[str, str]:
    return {"text": text, "label": label}


def notice(report: data.DataReport, code: str) -> data.Notice:
    return next(n for n in report.notices if n.code == code)


@pytest.fixture
def make_task(tmp_path: Path) -> MakeTask:
    def make(
        train: Iterable[Any] | Path,
        test: Iterable[Any] | Path | None = None,
        validation: Iterable[Any] | None = None,
        *,
        kind: Kind = "classify",
        columns: Columns = Columns(),  # noqa: B008
        seed: int = 0,
        **extra: Any,
    ) -> Task:
        def written(name: str, rows: Iterable[Any] | Path | None) -> Path | None:
            if rows is None or isinstance(rows, Path):
                return rows
            path = tmp_path / f"{name}.jsonl"
            path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
            return path

        return Task(
            name="t",
            kind=kind,
            instruction="Do it.",
            folder=tmp_path,
            data=DataFiles(
                train=written("train", train) or tmp_path,
                validation=written("validation", validation),
                test=written("test", test),
                columns=columns,
            ),
            targets=Targets(metric="accuracy"),
            build=BuildOptions(seed=seed),
            **extra,
        )

    return make


@pytest.fixture
def shared() -> Path:
    default = Path(__file__).parents[2].parent / "shared"
    path = Path(os.environ.get("SMALLWORKS_SHARED", default))
    if not path.is_dir():
        pytest.skip(f"../shared is absent: {path}")
    return path
