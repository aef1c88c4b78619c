"""Blind sheets out and in: what raters see, what the key lifts, and which mistakes are named."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path

import pytest

from smallworks.cli import run
from smallworks.errors import DataError, UserError
from smallworks.evaluate import records
from smallworks.evaluate.parse import parse
from smallworks.evaluate.scores import score_row
from smallworks.recipes.rate import export, read
from smallworks.recipes.sheets import read_key
from smallworks.types import ExampleId, Record

ROWS = 40


def record(at: int, said: str) -> Record:
    """A record of a task that writes text, parsed and scored as a run would."""
    parsed, due = parse("generate", said), f"right {at}"
    return Record(
        example_id=ExampleId(f"r{at}"),
        prompt_hash="",
        expected=due,
        raw=said,
        parsed=parsed.strict,
        lenient=parsed.lenient,
        scores=score_row("generate", parsed, due),
        tokens_in=1,
        tokens_out=1,
        ms=1.0,
    )


@pytest.fixture
def study(tmp_path: Path) -> tuple[Path, Path, Path]:
    """Records of two candidates with the rows they answered; every fourth answer is the same."""
    rows = [{"id": f"r{n}", "input": f"Question {n}?", "output": f"right {n}"} for n in range(ROWS)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for name, word in (("a", "poor"), ("b", "good")):
        said = [record(n, "the same" if n % 4 == 0 else f"={word} {n}") for n in range(ROWS)]
        records.write(tmp_path / f"{name}.jsonl", said)
    return tmp_path / "a.jsonl", tmp_path / "b.jsonl", tmp_path / "rows.jsonl"


def lines(sheet: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(sheet.open(encoding="utf-8", newline="")))


def fill(sheet: Path, judge: object, column: str = "choice", *, comma: str = ",", mark: str = "") -> None:
    """Write what `judge` says of each line; as a spreadsheet saves it, with `comma` and a byte order mark."""
    assert callable(judge)
    rows = [{**row, column: judge(row)} for row in lines(sheet)]
    with sheet.open("w", encoding="utf-8-sig" if mark else "utf-8", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]), delimiter=comma)
        writer.writeheader()
        writer.writerows(rows)


def likes_good(row: dict[str, str]) -> str:
    return "1" if "good" in row["first"] else "2"


def test_a_sheet_shows_answers_that_differ_and_nothing_of_their_makers(
    study: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    done = export(*study, tmp_path / "sheets", raters=("anna", "ben"), most=20)
    assert (done.rows, done.equal, done.shown) == (40, 10, 20)
    anna, ben = (lines(sheet) for sheet in done.sheets)
    assert len(anna) == 20 and {row["first"] for row in anna} & {row["second"] for row in anna} == set()
    text = done.sheets[0].read_text()
    assert "a.jsonl" not in text and "b.jsonl" not in text and "right" not in text
    assert [row["input"] for row in anna] != [row["input"] for row in ben]
    flipped = Counter("good" in row["first"] for row in anna)
    assert set(flipped) == {True, False}  # sides are drawn
    assert done.key.parent == tmp_path  # not among the sheets


def test_the_same_seed_makes_the_same_sheets(study: tuple[Path, Path, Path], tmp_path: Path) -> None:
    made = [export(*study, tmp_path / name, seed=seed) for name, seed in (("x", 1), ("y", 1), ("z", 2))]
    x, y, z = (done.sheets[0].read_text() for done in made)
    assert x == y != z


def test_an_answer_that_a_spreadsheet_would_run_is_text(
    study: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    done = export(*study, tmp_path / "sheets")
    assert {row[side][:2] for row in lines(done.sheets[0]) for side in ("first", "second")} == {"'="}


def test_choices_are_unblinded_and_judged(study: tuple[Path, Path, Path], tmp_path: Path) -> None:
    done = export(*study, tmp_path / "sheets", raters=("anna", "ben"))
    fill(done.sheets[0], likes_good)
    fill(
        done.sheets[1],
        lambda row: "=" if row["number"] in ("1", "2") else likes_good(row),
        comma=";",
        mark="BOM",
    )
    found = read([done.folder], done.key)
    assert (found.raters, found.judged, found.missing) == (2, 60, 0)
    assert found.comparison.only_a == 0 and found.comparison.only_b == 30
    assert found.win_rate and found.win_rate.value == pytest.approx((30 - 2 * 0.25) / 30)
    assert found.verdict.outcome == "pass"
    assert found.first and found.first.low < 0.5 < found.first.high  # nobody leans to a side
    assert found.agreement.kappa["anna, ben"] == 0.0  # anna never says anything but B: no better than chance


def test_scores_of_single_answers_come_back_in_points(study: tuple[Path, Path, Path], tmp_path: Path) -> None:
    done = export(*study, tmp_path / "sheets", raters=("anna", "ben"), scale=5)
    assert len(lines(done.sheets[0])) == 60  # two answers of thirty rows
    fill(done.sheets[0], lambda row: "4" if "good" in row["answer"] else "2", "score")
    fill(done.sheets[1], lambda row: "4,5" if "good" in row["answer"] else "2", "score")
    found = read(list(done.sheets), done.key, margin=0.5)
    assert (found.comparison.a.value, found.comparison.b.value) == (pytest.approx(2), pytest.approx(4.25))
    assert found.verdict.outcome == "pass" and found.win_rate is None
    assert found.agreement.alpha and found.agreement.alpha > 0.9


def test_lines_left_empty_are_counted_and_no_fault(study: tuple[Path, Path, Path], tmp_path: Path) -> None:
    done = export(*study, tmp_path / "sheets")
    fill(done.sheets[0], lambda row: likes_good(row) if int(row["number"]) <= 12 else "")
    found = read(list(done.sheets), done.key)
    assert (found.judged, found.missing, found.comparison.difference.n) == (12, 18, 12)


def changed(column: str, value: str, number: str = "3") -> object:
    return lambda row: value if row["number"] == number else row[column]


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("choice", "left", r"row 3: 'left' is no choice.*Write 1, 2 or ="),
        ("number", "4", r"row 3: number '4' and code .* belong to no sheet"),
        ("code", "00000000", r"code '00000000' belong to no sheet"),
    ],
)
def test_a_line_that_is_not_in_order_is_named(
    column: str, value: str, said: str, study: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    done = export(*study, tmp_path / "sheets")
    fill(done.sheets[0], changed(column, value), column)
    with pytest.raises(DataError, match=said):
        read([done.folder], done.key)


def test_sheets_read_twice_and_other_mistakes_are_named(
    study: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    done = export(*study, tmp_path / "sheets")
    fill(done.sheets[0], likes_good)
    with pytest.raises(DataError, match="30 lines come in two of these files"):
        read([done.sheets[0], done.sheets[0]], done.key)
    with pytest.raises(DataError, match="is not the key of rating sheets"):
        read_key(_written(tmp_path / "x.json", "{}"))
    with pytest.raises(UserError, match="is there already, perhaps with ratings in it"):
        export(*study, tmp_path / "sheets")
    with pytest.raises(DataError, match="do not hold what was asked"):
        export(study[0], study[1], None, tmp_path / "more")
    with pytest.raises(DataError, match="All 40 answers are equal"):
        export(study[0], study[0], study[2], tmp_path / "more")
    with pytest.raises(UserError, match="--raters 'a/b'"):
        export(*study, tmp_path / "more", raters=("a/b",))


def _written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_the_command_goes_out_and_in(
    study: tuple[Path, Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "sheets"
    names = ["--raters", "anna,ben", "--out", str(folder), "--reference"]
    assert run(["rate", "export", *map(str, study), *names]) == 0
    assert "sheets.key.json  (keep it from the raters)" in capsys.readouterr().out
    assert lines(folder / "sheet-anna.csv")[0]["expected"].startswith("right")
    for name in ("anna", "ben"):
        fill(folder / f"sheet-{name}.csv", likes_good)
    assert run(["rate", "read", str(folder)]) == 0
    said = capsys.readouterr().out
    assert "B's win rate 1.000" in said and "pass: wins of b.jsonl minus a.jsonl" in said
    assert "not defined, no judgement differs on 30 rows judged by two or more" in said
    assert ": no worse is shown." in said
    assert run(["rate", "read"]) == 2 and run(["rate", "export", "a", "b"]) == 2
    assert "2 paths and no --out" in capsys.readouterr().err


def test_sheets_are_looked_for_before_their_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["rate", "read", "nope"]) == 2
    assert "No sheet at 'nope'" in capsys.readouterr().err
    (tmp_path / "sheet.csv").touch()
    assert run(["rate", "read", "sheet.csv"]) == 2
    said = capsys.readouterr().err
    assert f"No key at '{tmp_path}.key.json'" in said and "--key FILE" in said
