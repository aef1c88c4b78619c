"""Cleaning: every planted fault is told by its row, nothing else goes, and what went can be put back."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from smallworks import data
from smallworks.errors import DataError, UserError

from .conftest import MakeTask, row

WORDS = [
    "card",
    "export",
    "invoice",
    "login",
    "refund",
    "transfer",
    "schedule",
    "report",
    "banana",
    "window",
    "harbour",
    "pencil",
]


ROWS = [
    row(f"{a} {b} {c * 2}", "bug" if a < b else "idea")
    for a, b, c in zip(WORDS, WORDS[3:], WORDS[5:], strict=False)
]
PLANTED = [
    row(ROWS[0]["text"], ROWS[0]["label"]),
    row(f" {ROWS[1]['text'].upper()} !", ROWS[1]["label"]),
    row("Held out, word for word", "bug"),
    row("", "bug"),
    row(ROWS[2]["text"], "another"),
    row(f"{ROWS[3]['text']} so", ROWS[3]["label"]),
]
FIRST = len(ROWS) + 1
HELD_OUT = [row("held OUT word for word!", "bug"), row("something else", "idea")]


def read(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def by_code(notices: tuple[data.Notice, ...]) -> dict[str, tuple[int, ...]]:
    return {notice.code: notice.rows for notice in notices}


def test_each_planted_fault_has_its_own_reason_and_the_row_it_repeats(
    make_task: MakeTask, tmp_path: Path
) -> None:
    done = data.clean(make_task([*ROWS, *PLANTED], HELD_OUT), tmp_path / "kept.jsonl")
    told = [(r["row"], r["reason"], r["of"], r["file"]) for r in read(done.removed)]
    assert told == [
        (FIRST, "identical", 1, ""),
        (FIRST + 1, "near", 2, ""),
        (FIRST + 2, "leak", 1, "test.jsonl"),
        (FIRST + 3, "empty", None, ""),
    ]
    assert by_code(done.survey.notices)["conflict"] == (3, FIRST + 4)


def test_similar_rows_are_told_and_stay(make_task: MakeTask, tmp_path: Path) -> None:
    done = data.clean(make_task([*ROWS, *PLANTED], HELD_OUT), tmp_path / "kept.jsonl")
    assert FIRST + 5 in by_code(done.survey.notices)["similar"]
    assert done.kept == len(ROWS) + 2 and PLANTED[5] in read(done.out)


def test_similar_rows_with_different_labels_are_suspects_and_keep_their_labels(
    make_task: MakeTask, tmp_path: Path
) -> None:
    doubtful = row(f"{ROWS[3]['text']} so", "another")
    done = data.clean(make_task([*ROWS, doubtful]), tmp_path / "kept.jsonl")
    assert by_code(done.survey.notices)["label_suspect"] == (FIRST,)
    assert read(done.out) == [*ROWS, doubtful]


def test_kept_and_removed_rows_together_are_the_source(make_task: MakeTask, tmp_path: Path) -> None:
    rows = [*PLANTED[:2], *ROWS, *PLANTED]
    done = data.clean(make_task(rows, HELD_OUT), tmp_path / "kept.jsonl")
    back = read(done.out)
    for removal in read(done.removed):
        back.insert(removal["row"] - 1, removal["cells"])
    assert back == rows


def test_a_row_that_no_file_can_hold_is_laid_aside_as_it_was(make_task: MakeTask, tmp_path: Path) -> None:
    half = row("half \ud83d of a pair", "bug")
    done = data.clean(make_task([*ROWS, half]), tmp_path / "kept.jsonl")
    assert [(r["row"], r["reason"], r["cells"]) for r in read(done.removed)] == [(FIRST, "unreadable", half)]


def test_masking_reaches_every_cell_but_the_label_and_the_id(make_task: MakeTask, tmp_path: Path) -> None:
    rows = [
        {"id": "a@b.example", "text": "mail a@b.example", "label": "a@b.example", "note": ["A@b.example"]},
        {"id": "2", "text": f"{ROWS[1]['text']} c@d.example", "label": "bug", "note": None},
    ]  # fmt: skip
    done = data.clean(make_task([*rows, *rows[:1]]), tmp_path / "kept.jsonl", mask=True)
    first, second = read(done.out)
    assert (first["id"], first["label"], first["note"]) == ("a@b.example", "a@b.example", ["<EMAIL_1>"])
    assert first["text"] == "mail <EMAIL_1>" and second["text"].endswith("<EMAIL_2>")
    assert read(done.removed)[0]["cells"] == first and done.pseudonyms == {"EMAIL": 2}


def test_a_table_is_written_as_it_was_read(make_task: MakeTask, tmp_path: Path) -> None:
    source = tmp_path / "in.csv"
    source.write_text('text,label,n\n"a, ""b""\nc",bug,007\nother one,idea,\n', encoding="utf-8")
    done = data.clean(make_task(source), tmp_path / "out.csv")
    with done.out.open(encoding="utf-8", newline="") as file:
        assert list(csv.reader(file)) == [
            ["text", "label", "n"],
            ['a, "b"\nc', "bug", "007"],
            ["other one", "idea", ""],
        ]


def test_what_is_read_or_already_there_is_never_written_over(make_task: MakeTask, tmp_path: Path) -> None:
    task = make_task(ROWS)
    with pytest.raises(UserError, match="is read by this command"):
        data.clean(task, task.data.train, force=True)
    there = tmp_path / "there.jsonl"
    there.write_text("mine")
    with pytest.raises(UserError, match="is there already"):
        data.clean(task, there)
    assert there.read_text() == "mine" and data.clean(task, there, force=True).kept == len(ROWS)
    with pytest.raises(DataError, match="which rows are not written as"):
        data.clean(task, tmp_path / "out.txt")


def test_far_longer_rows_are_told(make_task: MakeTask) -> None:
    rows = [
        row(f"{a} {b} {n}", "bug") for n, (a, b) in enumerate(zip(WORDS * 6, WORDS[1:] * 6, strict=False))
    ]
    seen = data.inspect(make_task([*rows, row("very long " * 400, "idea")])).report
    assert by_code(seen.notices)["length_outlier"] == (len(rows) + 1,)


def test_inspect_tells_a_fault_once(make_task: MakeTask) -> None:
    found = data.inspect(make_task([*ROWS, *PLANTED], HELD_OUT))
    codes = [n.code for n in found.report.notices if n.file == "train.jsonl"]
    assert len(codes) == len(set(codes)) and {"identical", "near", "leak", "conflict"} <= set(codes)


def test_clean_sets_are_not_stopped(shared: Path, make_task: MakeTask) -> None:
    folder = shared / "data"
    tasks = [data.open_source(folder / name) for name in ("banking77/test.csv", "gsm8k/test.jsonl")]
    tasks.append(make_task(folder / "banking77" / "train.csv", folder / "banking77" / "test.csv"))
    assert [data.inspect(task).report.errors for task in tasks] == [(), (), ()]
    assert [task.kind for task in tasks] == ["classify", "generate", "classify"]
