"""`smallworks fetch` as a user types it, against the stand-in for the hub."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from smallworks.cli import run


def test_the_size_is_shown_before_anything_is_fetched(hub: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["fetch", "owner/name", "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert f"owner/name at {hub.commit}" in said and "MB  in all" in said and "modeling.py" not in said
    assert [path for path in hub.asked if "/resolve/" in path] == []


def test_what_was_fetched_is_told_as_a_path_and_a_pin(hub: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["fetch", "owner/name", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["pinned"] == f"owner/name@{hub.commit}"
    assert (Path(said["path"]) / "config.json").is_file()


def test_offline_it_tells_what_is_there(
    hub: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(["fetch", "owner/name"]) == 0
    assert f"pinned   owner/name@{hub.commit}" in capsys.readouterr().out
    monkeypatch.setenv("SMALLWORKS_OFFLINE", "1")
    assert run(["fetch", "owner/name"]) == 0
    assert run(["fetch", "owner/other"]) == 2
    assert "fetching is switched off" in capsys.readouterr().err


def test_what_is_no_hub_id_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["fetch", "one-word"]) == 2
    assert "'one-word' is no hub id" in capsys.readouterr().err
