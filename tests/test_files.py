"""The disk: nothing half-written, the same value always the same bytes, failures that name the place."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smallworks import files
from smallworks.errors import DataError, UserError

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@given(st.dictionaries(TEXT, JSON, max_size=5))
def test_a_value_has_one_hash_whatever_the_order_of_its_keys(value: dict[str, object]) -> None:
    shuffled = dict(reversed(value.items()))
    assert files.canonical(value) == files.canonical(shuffled)
    assert json.loads(files.canonical(value)) == value
    assert files.hash_value(value) == files.hash_value(shuffled)


def test_different_values_have_different_hashes() -> None:
    values = [{}, [], None, "", 0, {"a": 1}, {"a": "1"}, {"a": [1]}, {"a1": 1}]
    assert len({files.hash_value(value) for value in values}) == len(values)


@given(rows=st.lists(JSON, max_size=6))
def test_what_is_written_is_read_back(tmp_path_factory: pytest.TempPathFactory, rows: list[object]) -> None:
    folder = tmp_path_factory.getbasetemp() / "round"
    files.write_jsonl(folder / "a.jsonl", rows)
    files.write_json(folder / "a.json", rows)
    assert list(files.read_jsonl(folder / "a.jsonl")) == files.read_json(folder / "a.json") == rows


def test_a_block_that_raises_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    files.write_text(path, "old")
    with pytest.raises(ZeroDivisionError), files.atomic(path) as temporary:
        temporary.write_text("half")
        raise ZeroDivisionError
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_a_folder_is_whole_or_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder"
    with pytest.raises(ZeroDivisionError), files.atomic_folder(path) as temporary:
        (temporary / "half").write_text("half")
        raise ZeroDivisionError
    assert names(tmp_path / "new") == []
    for name in ("one", "two"):
        with files.atomic_folder(path) as temporary:
            (temporary / name).write_text(name)
        assert names(path) == [name]


def test_an_unwritable_folder_is_named_with_a_fix(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for write in (files.atomic, files.atomic_folder):
        with pytest.raises(UserError) as caught, write(tmp_path / "file" / "below" / "x"):
            pass
        assert str(tmp_path / "file" / "below" / "x") in caught.value.what
        assert "Choose a folder" in caught.value.fix


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(UserError, match="Permission denied"):
        files.write_text(tmp_path / "x", "x")
    tmp_path.chmod(0o700)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_said_with_the_free_space(tmp_path: Path, code: int) -> None:
    with pytest.raises(UserError) as caught, files.atomic(tmp_path / "not" / "yet" / "there"):
        raise OSError(code, os.strerror(code))
    assert "MiB free" in caught.value.what and "Free some space" in caught.value.fix
    assert names(tmp_path / "not" / "yet") == []


@pytest.mark.skipif(os.name != "posix", reason="needs a limit on the size of files")
def test_a_real_write_that_does_not_fit_leaves_nothing(tmp_path: Path) -> None:
    """In a process whose files may not pass 4 KiB, as on a disk that fills up."""
    code = (
        "import resource, signal, sys; from pathlib import Path; from smallworks import files\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "files.write_text(Path(sys.argv[1]) / 'big.txt', 'x' * 100_000)"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True)
    assert "DiskError" in done.stderr.splitlines()[-1] and "MiB free" in done.stderr
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("content", "said"),
    [(b'{"a": 1}\n\n{"a" 2}\n', "line 3"), (b'{"a": "\xff"}\n', "UTF-8"), (b'{"a": 1}\n[', "line 2")],
)
def test_a_broken_line_is_named(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "a.jsonl").write_bytes(content)
    with pytest.raises(DataError, match=said) as caught:
        list(files.read_jsonl(tmp_path / "a.jsonl"))
    assert "a.jsonl" in caught.value.what


@pytest.mark.parametrize(("content", "said"), [(b"{\n,", "line 2"), (b"\xff", "UTF-8"), (b"", "line 1")])
def test_a_file_that_is_no_json_is_named(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(DataError, match=said) as caught:
        files.read_json(tmp_path / "a.json")
    assert "a.json" in caught.value.what


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"absent\.json"):
        files.read_json(tmp_path / "absent.json")
    with pytest.raises(DataError, match=r"absent\.jsonl"):
        list(files.read_jsonl(tmp_path / "absent.jsonl"))


def test_a_link_or_copy_never_writes_through_to_its_neighbours(tmp_path: Path) -> None:
    one, two, shared = tmp_path / "one", tmp_path / "two", tmp_path / "deep" / "shared"
    one.write_text("one")
    two.write_text("two")
    files.link_or_copy(one, shared)
    files.link_or_copy(one, shared)
    files.link_or_copy(two, shared)
    assert (one.read_text(), shared.read_text()) == ("one", "two")


def test_small_files_share_nothing(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("one")
    files.link_or_copy(tmp_path / "a", tmp_path / "b")
    (tmp_path / "b").write_text("two")
    assert (tmp_path / "a").read_text() == "one"


def test_a_copy_is_made_where_links_are_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "SHARED_FROM", 0)

    def refuse(*_: object) -> None:
        raise OSError(errno.EXDEV, "another file system")

    monkeypatch.setattr(os, "link", refuse)
    (tmp_path / "a").write_bytes(b"12345")
    files.link_or_copy(tmp_path / "a", tmp_path / "folder" / "b")
    assert files.hash_file(tmp_path / "a") == files.hash_file(tmp_path / "folder" / "b")
    assert files.size_of(tmp_path / "folder") == files.size_of(tmp_path / "a") == 5
