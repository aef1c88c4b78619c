"""Releases: a name points at a bundle, moves are kept, and a rollback goes back as often as it is asked."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smallworks.bundle.manifest import Manifest
from smallworks.bundle.store import freeze
from smallworks.cli import run
from smallworks.errors import BundleError, UserError
from smallworks.registry import Releases
from smallworks.types import Choices, PromptSpec


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three different bundles in one folder."""
    folder = tmp_path_factory.mktemp("bundles")
    (folder / "draft").mkdir()
    made = []
    for label in "abc":
        spec = PromptSpec(style="raw", kind="classify", choices=Choices(labels=("x", label)))
        manifest = Manifest(task="tickets", kind="classify", candidate="fake", engine="fake", prompt=spec)
        made.append(freeze(folder / "draft", manifest, into=folder).path)
    return made


@pytest.fixture()
def make(tmp_path: Path) -> Callable[[], Releases]:
    return lambda: Releases(tmp_path / "releases.sqlite", create=True)


def test_rollback_goes_back_as_often_as_it_is_asked(
    make: Callable[[], Releases], bundles: list[Path]
) -> None:
    releases = make()
    for bundle in bundles:
        releases.promote("production", bundle)
    assert releases.bundle("production") == bundles[2]
    assert releases.rollback("production").path == bundles[1]
    assert releases.rollback("production").path == bundles[0]
    with pytest.raises(UserError, match="no other bundle before"):
        releases.rollback("production")
    kinds = [move.kind for move in releases.history("production")]
    assert kinds == ["rollback", "rollback", "promote", "promote", "promote"]


@given(moves=st.lists(st.sampled_from([0, 1, 2, None]), max_size=8))
def test_any_history_is_that_of_a_stack(bundles: list[Path], moves: list[int | None]) -> None:
    """None is a rollback."""
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as folder:
        releases, stack = Releases(Path(folder) / "r.sqlite", create=True), list[int]()
        for move in moves:
            if move is not None:
                stack.append(move)
                releases.promote("staging", bundles[move])
            elif len(stack) > 1:
                stack.pop()
                releases.rollback("staging")
        if stack:
            assert releases.bundle("staging") == bundles[stack[-1]]


def test_a_name_that_was_never_promoted_is_told(make: Callable[[], Releases], bundles: list[Path]) -> None:
    releases = make()
    releases.promote("production", bundles[0])
    with pytest.raises(UserError, match=r"no release 'prodction'.*Did you mean 'production'"):
        releases.current("prodction")
    for name in ("", "../up", "a b", "x" * 65):
        with pytest.raises(UserError, match="cannot name a release"):
            releases.promote(name, bundles[0])


def test_a_bundle_that_was_exchanged_is_not_taken(
    make: Callable[[], Releases], bundles: list[Path], tmp_path: Path
) -> None:
    here = shutil.copytree(bundles[0], tmp_path / "bundle")
    releases = make()
    releases.promote("production", here)
    shutil.rmtree(here)
    shutil.copytree(bundles[1], here)
    with pytest.raises(BundleError, match=r"points at the bundle .* but in"):
        releases.bundle("production")


def test_the_folder_of_file_and_bundles_can_be_moved(bundles: list[Path], tmp_path: Path) -> None:
    shutil.copytree(bundles[0], tmp_path / "old" / "bundle")
    Releases(tmp_path / "old" / "r.sqlite", create=True).promote("production", tmp_path / "old" / "bundle")
    (tmp_path / "old").rename(tmp_path / "new")
    assert Releases(tmp_path / "new" / "r.sqlite").bundle("production") == tmp_path / "new" / "bundle"


def test_moves_at_the_same_time_are_all_kept(make: Callable[[], Releases], bundles: list[Path]) -> None:
    path = make().path
    with ThreadPoolExecutor(8) as pool:
        done = pool.map(lambda n: Releases(path).promote("production", bundles[n % 3]), range(24))
    assert sorted(move.number for move in done) == list(range(1, 25))
    assert len(Releases(path).history()) == 24


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no database " * 100)
    other = sqlite3.connect(tmp_path / "other")
    other.execute("CREATE TABLE theirs (x)")
    other.close()
    for name in ("text", "other"):
        with pytest.raises(UserError, match="cannot be used as a release file"):
            Releases(tmp_path / name, create=True)
    with pytest.raises(UserError, match="smallworks release promote NAME BUNDLE --file"):
        Releases(tmp_path / "none")


def test_the_command_promotes_lists_and_rolls_back(
    bundles: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = ["--file", str(tmp_path / "r.sqlite")]
    for bundle in bundles[:2]:
        assert run(["release", "promote", "production", str(bundle), *file]) == 0
    assert run(["release", "rollback", "production", *file]) == 0
    capsys.readouterr()
    assert run(["release", "list", "--json", *file]) == 0
    moves = json.loads(capsys.readouterr().out)
    assert [(move["kind"], Path(move["path"]).name) for move in moves] == [
        ("rollback", bundles[0].name),
        ("promote", bundles[1].name),
        ("promote", bundles[0].name),
    ]
    assert run(["release", "promote", "production", *file]) == 2
