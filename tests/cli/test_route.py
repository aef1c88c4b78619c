"""What makes no question for `smallworks route` ends with 2, names the value, and measures nothing."""

from __future__ import annotations

import pytest

from smallworks.cli import run


@pytest.mark.parametrize(
    ("more", "values"),
    [
        (["--promise", "soon"], ["'soon'", "1 point"]),
        (["--confidence", "95"], ["95", "0.95"]),
        (["--costs", "1"], ["1 for 2", "--costs"]),
        (["--costs", "1,x"], ["'1,x'"]),
        (["--costs", "1,nan"], ["'1,nan'"]),
        (["--monthly-cap", "10"], ["--monthly-requests"]),
        (["--monthly-cap", "-1", "--monthly-requests", "5"], ["-1"]),
        ([], ["nowhere-a"]),
    ],
)
def test_what_makes_no_question_exits_with_2(
    more: list[str], values: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["route", "calibrate", "nowhere-a", "nowhere-b", "--data", "rows.csv", *more]) == 2
    err = capsys.readouterr().err
    assert [value for value in values if value not in err] == []


def test_one_bundle_is_no_cascade(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["route", "calibrate", "nowhere", "--data", "rows.csv"]) == 2
    assert "two bundles or more" in capsys.readouterr().err
