"""The key file: hashes alone, one statement for a budget, and what another process does is seen."""

from __future__ import annotations

import sqlite3
import stat
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from smallworks.errors import UserError
from smallworks.server import keys as module
from smallworks.server.keys import Key, KeyFile, check_scopes, this_month


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


def test_a_key_expires_on_its_second() -> None:
    assert not Key(id="1", name="a").expired(1e12)
    key = Key(id="1", name="a", expires=100)
    assert (key.expired(99.9), key.expired(100)) == (False, True)


def test_a_budget_is_never_overspent_by_threads_of_several_files(file: KeyFile) -> None:
    key, _ = file.add("ci", monthly_tokens=1000)
    month = this_month()

    def spend(number: int) -> int:
        """One answer that holds 30 and uses 20; what it used, 0 where it was refused."""
        held = files[number % 2]
        if not held.reserve(key, month, 30):
            return 0
        held.give_back(key, month, 10)
        return 20

    with KeyFile(file.path) as replica, ThreadPoolExecutor(8) as pool:
        files = [file, replica]
        used = sum(pool.map(spend, range(100)))
        assert file.spent(key, month) == replica.spent(key, month) == used
    assert 970 < used <= 1000


def test_a_budget_belongs_to_its_month_and_its_key(file: KeyFile) -> None:
    one, _ = file.add("one", monthly_tokens=10)
    two, _ = file.add("two", monthly_tokens=10)
    assert file.reserve(one, "2026-11", 10) and not file.reserve(one, "2026-11", 1)
    assert not file.reserve(two, "2026-11", 11)
    assert file.reserve(one, "2026-12", 10) and file.reserve(two, "2026-11", 10)


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
