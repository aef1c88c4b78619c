"""`smallworks keys`: the text of a key is shown once, and mistakes are told with what mends them."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from smallworks.cli import run
from smallworks.server.keys import KeyFile
from smallworks.server.limits.ledger import Note
from smallworks.server.limits.tables import Tables


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The key file that is named by the environment."""
    path = tmp_path / "in" / "keys.sqlite"
    monkeypatch.setenv("SMALLWORKS_KEYS", str(path))
    return path


def test_a_key_is_printed_alone_and_works(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["keys", "add", "ci", "--monthly-tokens", "1000", "--days", "2", "--model", "tickets"]) == 0
    said = capsys.readouterr()
    text = said.out.strip()
    assert "only time" in said.err and text not in said.err
    with KeyFile(file) as held:
        key = held.recognise(text)
    assert key and (key.name, key.scopes, key.models) == ("ci", ("answers",), ("tickets",))
    assert key.monthly_tokens == 1000 and key.requests_per_minute is None
    assert key.expires and abs(key.expires - time.time() - 2 * 24 * 3600) < 60


def test_the_list_tells_all_but_the_key(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(
        [
            "keys",
            "add",
            "ci",
            "--scope",
            "answers",
            "--scope",
            "metrics",
            "--monthly-tokens",
            "1000",
            "--json",
        ]
    )
    text = json.loads(capsys.readouterr().out)["key"]
    with KeyFile(file) as held:
        Tables(held.database).run([Note(held.all()[0].account, 345, 1_500_000, 2)])
    run(["keys", "add", "old"])
    run(["keys", "revoke", "old"])
    capsys.readouterr()
    assert run(["keys", "list"]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert all(words in first for words in ("ci", "live", "answers, metrics", "1,000 monthly", "345 tokens"))
    assert "old" in second and "revoked" in second
    assert run(["keys", "list", "--json"]) == 0
    printed = capsys.readouterr().out
    rows = json.loads(printed)
    assert [(row["name"], row["state"], row["spent_this_month"]) for row in rows] == [
        ("ci", "live", 345),
        ("old", "revoked", 0),
    ]
    assert (rows[0]["left_this_month"], rows[0]["dollars_this_month"]) == (655, "1.50")
    assert "hash" not in rows[0] and text.split("-", 2)[2] not in first + printed


def test_a_rotated_key_is_shown_once_and_counts_with_the_old_one(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(["keys", "add", "ci", "--monthly-dollars", "12.50"])
    run(["keys", "change", "ci", "--monthly-tokens", "900", "--at-once", "4"])
    run(["keys", "change", "ci", "--at-once", "0"])
    capsys.readouterr()
    assert run(["keys", "rotate", "ci", "--overlap-hours", "2"]) == 0
    said = capsys.readouterr()
    with KeyFile(file) as held:
        new = held.recognise(said.out.strip())
        assert new and (new.monthly_tokens, new.monthly_micros, new.at_once) == (900, 12_500_000, None)
        Tables(held.database).run([Note(new.account, 100, 2_500_000, 3)])
    assert "2 hours more" in said.err
    assert run(["keys", "usage", "ci", "--json"]) == 0
    (used,) = json.loads(capsys.readouterr().out)
    assert (used["name"], used["answers"], used["tokens"], used["dollars"]) == ("ci", 3, 100, "2.50")
    run(["keys", "usage"])
    assert "ci  3 answers  100 tokens  $2.50" in capsys.readouterr().out
    run(["keys", "list", "--json"])
    rows = json.loads(capsys.readouterr().out)
    assert [row["dollars_left"] for row in rows] == ["10.00", "10.00"]
    run(["keys", "history"])
    told = capsys.readouterr().out
    assert [line.split("  ")[2] for line in told.splitlines()] == ["add", "change", "change", "rotate"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["add"], "smallworks keys add NAME"),
        (["add", "x", "--scope", "metric"], "Did you mean 'metrics'"),
        (["add", "x", "--monthly-tokens", "0"], "--monthly-tokens is 0"),
        (["add", "x", "--monthly-dollars", "five"], "'five' is no amount of dollars"),
        (["add", "x", "--at-once", str(10**30)], "--at-once is 1000"),
        (["add", "taken"], "named 'taken' already"),
        (["change", "taken"], "Nothing to change"),
        (["rotate", "taken", "--days", "3"], "--days is for `keys add`"),
        (["add", "x", "--overlap-hours", "3"], "`keys rotate` alone"),
        (["list", "--days", "3"], "--days is for `keys add`"),
        (["revoke", "nobody"], "Live keys: taken."),
        (["list", "--file", "none.sqlite"], "smallworks keys add NAME --file none.sqlite"),
    ],
)
def test_a_mistake_exits_with_2_and_says_what_to_do(
    file: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    run(["keys", "add", "taken"])
    assert run(["keys", *arguments]) == 2
    assert words in capsys.readouterr().err
    with KeyFile(file) as held:
        assert [key.name for key in held.all()] == ["taken"]


def test_a_file_has_to_be_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("SMALLWORKS_KEYS", raising=False)
    assert run(["keys", "list"]) == 2
    assert "--file keys.sqlite, or set SMALLWORKS_KEYS" in capsys.readouterr().err
