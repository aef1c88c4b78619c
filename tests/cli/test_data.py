"""`smallworks data` as a user types it: what each action prints, writes and exits with."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from smallworks.cli import run
from smallworks.text.personal import Name

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
ROWS = [{"text": f"{a} {b}", "label": "bug" if a < b else "idea"} for a in WORDS for b in WORDS if a != b]


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    return write(
        tmp_path / "rows.jsonl", [*ROWS, ROWS[0], {"text": "ring 020 7946 0018 now", "label": "bug"}]
    )


def write(path: Path, lines: Sequence[dict[str, str]]) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_check_says_what_it_found_and_ends_with_0(rows: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["data", "check", str(rows)]) == 0
    said = capsys.readouterr().out
    assert "1 row of 'rows.jsonl': exact repeats" in said and "1 PHONE" in said
    assert "nothing must be mended" in said


def test_check_ends_with_1_for_what_a_build_refuses(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = write(tmp_path / "rows.jsonl", [*ROWS, {"text": "all alone", "label": "single"}])
    assert run(["data", "check", str(broken), "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["must_mend"] and document["notices"][0]["code"] == "single_row"


def test_check_lists_doubtful_labels_when_asked(rows: Path, capsys: pytest.CaptureFixture[str]) -> None:
    signs = {"bug": "crashes on", "idea": "please add"}
    lines = [{"text": f"{signs[label]} {word}", "label": label} for label in signs for word in WORDS]
    lines = [{**line, "text": f"{line['text']} {place}"} for line in lines for place in ("today", "again")]
    wrong = {"text": "crashes on the harbour report", "label": "idea"}
    planted = write(rows.with_name("planted.jsonl"), [*lines, wrong])
    assert run(["data", "check", str(planted), "--suspects"]) == 0
    said = capsys.readouterr().out
    assert "doubtful labels: 1 rows" in said and "row 49: idea" in said and "rather bug" in said


def test_check_of_a_task_says_how_many_test_rows_its_target_needs(
    rows: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    head = '[task]\nname = "t"\nkind = "classify"\ninstruction = "Name it."\n[data]\ntrain = "rows.jsonl"\n'
    target = '[targets]\nmetric = "accuracy"\nat_least = 0.9\n'
    (rows.parent / "task.toml").write_text(head + target)
    assert run(["data", "check", str(rows.parent), "--json"]) == 0
    assert 500 < json.loads(capsys.readouterr().out)["test_rows_needed"] < 1_000


def test_clean_then_split_gives_the_parts_of_a_task(rows: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept, parts = rows.with_name("kept.csv"), rows.with_name("parts")
    assert run(["data", "clean", str(rows), "--out", str(kept), "--mask"]) == 0
    assert run(["data", "split", str(kept), "--out", str(parts), "--json"]) == 0
    said = capsys.readouterr().out
    assert "kept 133 of 134 rows" in said and "ring <PHONE_1> now" in kept.read_text()
    assert {path.name for path in parts.iterdir()} == {"train.csv", "validation.csv", "test.csv"}


TAUGHT = """
[task]
name = "t"
kind = "classify"
instruction = "Name it."
labels = ["bug", "idea"]
[data]
train = "rows.jsonl"
[flagship]
name = "big"
input_price = 1000
output_price = 5000
url = "{url}"
"""


@pytest.fixture
def taught(rows: Path, upstream_of: Callable[..., Any], completed: Callable[..., Any]) -> Path:
    """A task whose flagship always says the first code, rather surely."""
    upstream = upstream_of(lambda body: (200, completed("A", A=0.9, B=0.1)))
    (rows.parent / "task.toml").write_text(TAUGHT.format(url=upstream.url))
    return rows.parent


def test_label_tells_the_cost_before_and_after(taught: Path, capsys: pytest.CaptureFixture[str]) -> None:
    more = write(taught / "more.jsonl", [{"text": f"window {i}"} for i in range(12)])
    command = ["data", "label", str(taught), str(more)]
    assert run([*command, "--dry-run"]) == 0
    assert "12 questions" in capsys.readouterr().out and not (taught / "out.jsonl").exists()
    assert run([*command, "--out", str(taught / "out.jsonl"), "--budget", "1"]) == 0
    said = capsys.readouterr()
    assert "labelled 9 rows" in said.out and "not asked: 3 rows (the budget is spent)" in said.out
    assert "spent $0.99" in said.out and "12 questions" in said.err
    assert run([*command, "--out", str(taught / "out.jsonl"), "--force", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["labelled"], document["asked"]) == (12, 3)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["{rows}"], "was not told where to write"),
        ([], "was not told which rows to label"),
        (["{rows}", "--out", "x.csv"], "tags and probabilities need JSONL"),
        (["{rows}", "--out", "x.jsonl", "--budget", "0"], "--budget 0 is not above 0"),
        (["{rows}", "--out", "x.jsonl", "--mask"], "--mask has no meaning for 'data label'"),
        (["nowhere.jsonl", "--out", "x.jsonl"], "nowhere.jsonl"),
    ],
)
def test_a_mistake_in_label_ends_with_2(
    taught: Path, rows: Path, arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["data", "label", str(taught), *(argument.format(rows=rows) for argument in arguments)]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["check", "{rows}", "--mask"], "--mask has no meaning for 'data check'"),
        (["clean", "{rows}"], "was not told where to write"),
        (["split", "{rows}", "--out", "x", "--group", "custmer"], "no column 'custmer'"),
        (["check", "nowhere.csv"], "nowhere.csv"),
        (["chekc", "{rows}"], ""),
    ],
)
def test_a_mistake_ends_with_2(
    rows: Path, arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["data", *(argument.format(rows=rows) for argument in arguments)]) == 2
    assert said in capsys.readouterr().err


def test_names_are_masked_and_counted_by_the_model_that_is_given(
    rows: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stand_in(ref: str, *, progress: object) -> object:
        return lambda text: [Name("PERSON", 0, 6)] if text.startswith("banana") else []

    monkeypatch.setattr("smallworks.recipes.names.open_names", stand_in)
    out = tmp_path / "kept.jsonl"
    assert run(["data", "clean", str(rows), "--out", str(out), "--mask", "--names", "a/model", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["pseudonyms"] == {"PERSON": 1, "PHONE": 1}
    assert "<PERSON_1> card" in out.read_text() and "banana card" not in out.read_text()
    assert run(["data", "check", str(rows), "--names", "a/model", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["personal"]["rows.jsonl"]["PERSON"]["rows"] == 11


@pytest.mark.parametrize(
    ("given", "said"), [([], "without --mask"), (["--mask"], "No name model at 'no-such'")]
)
def test_names_want_masking_and_a_model_that_is_there(
    rows: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], given: list[str], said: str
) -> None:
    asked = ["data", "clean", str(rows), "--out", str(tmp_path / "kept.jsonl"), "--names", "no-such", *given]
    assert run(asked) == 2
    assert said in capsys.readouterr().err
