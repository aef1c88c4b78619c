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


@pytest.mark.parametrize(
    ("action", "stray", "meant"),
    [
        ("agree", ["--gate"], "calibrate"),
        ("agree", ["--promise", "1 point"], "calibrate"),
        ("agree", ["--confidence", "0.95"], "calibrate"),
        ("agree", ["--costs", "1,2,3"], "calibrate"),
        ("agree", ["--latency-ms", "5"], "calibrate"),
        ("agree", ["--monthly-cap", "5"], "calibrate"),
        ("agree", ["--monthly-requests", "5"], "calibrate"),
        ("agree", ["--data", "rows.csv"], "calibrate"),
        ("calibrate", ["--agreement", "0.5"], "agree"),
    ],
)
def test_an_option_of_the_other_action_is_refused(
    action: str, stray: list[str], meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["route", action, "nowhere-a", "nowhere-b", "nowhere-c", *stray]) == 2
    err = " ".join(capsys.readouterr().err.split())
    assert f"{stray[0]} has no meaning for 'route {action}'" in err and f"route {meant}" in err


def test_one_bundle_is_no_cascade(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["route", "calibrate", "nowhere", "--data", "rows.csv"]) == 2
    assert "two bundles or more" in capsys.readouterr().err
