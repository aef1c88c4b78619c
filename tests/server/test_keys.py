"""The keys: hashes alone, what another process does is seen, rotation shares a budget, and deeds are told."""

from __future__ import annotations

import sqlite3
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from smallworks.errors import UserError
from smallworks.server import keys as module
from smallworks.server import schema
from smallworks.server.keys import Key, KeyFile, check_scopes, open_keys
from smallworks.server.limits.ledger import Gone
from smallworks.server.limits.tables import Tables


@pytest.fixture
def file(tmp_path: Path) -> Iterator[KeyFile]:
    with KeyFile(tmp_path / "keys.sqlite", create=True) as file:
        yield file


def test_a_key_is_recognised_and_no_other_text_is(file: KeyFile) -> None:
    key, text = file.add("ci", scopes=("answers",), models=("tickets",), at_once=3)
    file.add("other")
    assert file.recognise(text) == key == file.all()[0]
    assert (key.models, key.at_once, key.monthly_tokens) == (("tickets",), 3, None)
    last = "A" if text[-1] != "A" else "B"
    wrong = [
        text[:-1] + last,
        text.upper(),
        f"{text} ",
        "",
        "sw-",
        text.replace(key.id, "00000000"),
        "é" * 55,
    ]
    assert [file.recognise(each) for each in wrong] == [None] * len(wrong)


def test_the_file_holds_no_key_and_is_its_owners_alone(file: KeyFile) -> None:
    _, text = file.add("ci")
    secret = text.split("-", 2)[2].encode()
    held = [path for path in file.path.parent.iterdir() if path.name.startswith("keys.sqlite")]
    assert held and not any(secret in path.read_bytes() for path in held)
    assert text not in repr(file.all())
    if sys.platform != "win32":
        assert {stat.S_IMODE(path.stat().st_mode) for path in held} == {0o600}


def test_a_name_is_one_live_keys_and_free_again_when_it_is_revoked(file: KeyFile) -> None:
    first, text = file.add("ci")
    with pytest.raises(UserError, match=r"named 'ci' already.*revoke ci"):
        file.add("ci")
    assert file.recognise(text)
    file.revoke("ci")
    assert file.recognise(text) is None
    second, _ = file.add("ci")
    assert [key.id for key in file.all()] == [first.id, second.id]
    with pytest.raises(UserError, match=r"no live key 'cy'. Live keys: ci\."):
        file.revoke("cy")


def test_what_another_process_revokes_is_seen(file: KeyFile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FRESH_SECONDS", 0.0)
    _, text = file.add("ci")
    assert file.recognise(text)
    with KeyFile(file.path) as other:
        other.revoke("ci")
    assert file.recognise(text) is None


def test_a_server_looks_at_its_file_ahead_and_may_go_by_what_it_knew(file: KeyFile) -> None:
    _, text = file.add("ci")
    with open_keys(file.path, None) as keys, open_keys(file.path, None, patient=True) as patient:
        for each in (keys, patient):
            each.database.close()
            assert each.recognise(text)  # without a look at the file
            each._looked -= module.STALE_SECONDS + 1
        with pytest.raises(Gone):
            keys.recognise(text)
        assert patient.recognise(text)


def test_a_key_expires_on_its_second() -> None:
    assert not Key(id="1", name="a").expired(1e12)
    key = Key(id="1", name="a", expires=100)
    assert (key.expired(99.9), key.expired(100)) == (False, True)


def test_a_rotated_key_overlaps_the_old_one_on_one_account(file: KeyFile) -> None:
    old, before = file.add("ci", models=("tickets",), monthly_tokens=100)
    new, after = file.rotate("ci", 3600)
    assert (new.account, new.models, new.monthly_tokens) == (old.account, ("tickets",), 100)
    first, second = file.recognise(before), file.recognise(after)
    assert first and second and second == new
    assert first.expires and 3590 < first.expires - new.created <= 3600
    assert first.replaced and second.expires is None
    third, last = file.rotate("ci", 0)
    ended = file.recognise(after)
    assert ended and ended.expired(third.created)
    file.revoke("ci")
    assert file.recognise(before) is file.recognise(last) is None
    file.add("ci")


def test_a_key_is_changed_in_its_place(file: KeyFile) -> None:
    key, text = file.add("ci", monthly_tokens=100, at_once=2)
    changed = file.change("ci", monthly_tokens=None, at_once=5, models=("a", "b"))
    assert file.recognise(text) == changed
    assert (changed.id, changed.monthly_tokens, changed.at_once) == (key.id, None, 5)
    with pytest.raises(UserError, match="no live key 'cy'"):
        file.change("cy", at_once=1)


def test_every_deed_is_told_with_its_time_and_its_doer(file: KeyFile) -> None:
    key, text = file.add("ci", at_once=2)
    file.change("ci", at_once=3)
    file.rotate("ci", 60)
    file.revoke("ci")
    deeds = file.history()
    assert [deed.what for deed in deeds] == ["add", "change", "rotate", "revoke"]
    assert all("@" in deed.who and deed.at >= key.created and deed.name == "ci" for deed in deeds)
    assert deeds[1].detail == "at_once 2 → 3" and key.id in deeds[2].detail
    assert text.split("-", 2)[2] not in repr(deeds)


def test_a_file_of_the_first_version_is_brought_up_and_keeps_all(tmp_path: Path) -> None:
    path = tmp_path / "keys.sqlite"
    with sqlite3.connect(path) as old:
        for statement in schema.STEPS[0].split(";"):
            old.execute(statement)
        old.execute("PRAGMA user_version = 1")
        old.execute(
            "INSERT INTO keys (id, name, hash, scopes, models, created, monthly_tokens) "
            "VALUES ('0a', 'ci', x'00', '[\"answers\"]', '[]', 5, 100)"
        )
        old.execute("INSERT INTO spent VALUES ('0a', '2026-11', 42)")
    old.close()
    for _ in range(2):
        with KeyFile(path) as file:
            (key,) = file.all()
            (used,) = Tables(file.database).usage()
        assert (key.account, key.monthly_tokens, key.monthly_micros, key.replaced) == ("0a", 100, None, None)
        assert (used.account, used.tokens, used.micros, used.answers) == ("0a", 42, 0, 0)


def test_a_file_that_is_missing_strange_or_newer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"No key file.*smallworks keys add NAME --file"):
        KeyFile(tmp_path / "none")
    (tmp_path / "text").write_text("These are not the keys that you are looking for. " * 100)
    with pytest.raises(UserError, match="cannot be used as a key file"):
        KeyFile(tmp_path / "text")
    for name, statement, words in [
        ("other", "CREATE TABLE cats (name)", "tables of another program"),
        ("newer", "PRAGMA user_version = 99", "newer Smallworks"),
    ]:
        with sqlite3.connect(tmp_path / name) as file:
            file.execute(statement)
        file.close()
        with pytest.raises(UserError, match=words):
            KeyFile(tmp_path / name)


def test_scopes_are_known_words() -> None:
    assert check_scopes(["metrics", "answers", "metrics"]) == ("metrics", "answers")
    with pytest.raises(UserError, match="Did you mean 'answers'"):
        check_scopes(["answer"])
