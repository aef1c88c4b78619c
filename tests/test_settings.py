"""Settings come from the environment in one place, and say what is wrong with a value."""

from __future__ import annotations

from pathlib import Path

import pytest

from smallworks import settings
from smallworks.errors import UserError

NAMES = ["SMALLWORKS_HOME", "SMALLWORKS_EMBEDDER", "SMALLWORKS_THREADS", "SMALLWORKS_HUB_URL"]
NAMES += ["SMALLWORKS_OFFLINE", "HF_HUB_OFFLINE"]


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)


def test_nothing_needs_to_be_set() -> None:
    here = settings.load()
    assert here.home == Path.home() / ".cache" / "smallworks"
    assert (here.embedder, here.hub_url, here.offline) == (None, "https://huggingface.co", False)
    assert here.threads == settings.physical_cores() >= 1


@pytest.mark.parametrize(("world", "which"), [(None, 0), ("1", 0), ("4", 1)])
def test_a_rank_is_one_among_several(world: str | None, which: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    if world:
        monkeypatch.setenv("WORLD_SIZE", world)
    else:
        monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert settings.rank() == which


def test_an_empty_variable_is_as_good_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    bare = settings.load()
    for name in NAMES:
        monkeypatch.setenv(name, "")
    assert settings.load() == bare


def test_every_variable_is_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    values = [str(tmp_path), "owner/name", "3", "http://mirror/", "1", "0"]
    for name, value in zip(NAMES, values, strict=True):
        monkeypatch.setenv(name, value)
    assert settings.load() == settings.Settings(
        home=tmp_path, embedder="owner/name", threads=3, hub_url="http://mirror", offline=True
    )


@pytest.mark.parametrize(
    ("ours", "theirs", "offline"), [("0", "1", False), (None, "1", True), ("1", None, True)]
)
def test_our_word_on_being_offline_goes_before_the_hubs(
    monkeypatch: pytest.MonkeyPatch, ours: str | None, theirs: str | None, offline: bool
) -> None:
    for name, value in (("SMALLWORKS_OFFLINE", ours), ("HF_HUB_OFFLINE", theirs)):
        if value is not None:
            monkeypatch.setenv(name, value)
    assert settings.load().offline is offline


@pytest.mark.parametrize("value", ["0", "-1", "two", "1.5", "²"])
def test_threads_that_are_no_number_are_refused(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("SMALLWORKS_THREADS", value)
    with pytest.raises(UserError, match="SMALLWORKS_THREADS") as caught:
        settings.load()
    assert value in caught.value.what and caught.value.fix


def test_a_key_is_read_when_it_is_needed_or_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_KEY", "s3cret")
    assert settings.secret("A_KEY") == "s3cret"
    monkeypatch.delenv("A_KEY")
    with pytest.raises(UserError, match="'A_KEY' is not set"):
        settings.secret("A_KEY")
