"""`smallworks serve`: what it refuses before it opens a bundle, and where its keys come from."""

from __future__ import annotations

from pathlib import Path

import pytest

from smallworks.cli import run
from smallworks.cli import serve as command


@pytest.fixture(autouse=True)
def no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SMALLWORKS_KEYS", raising=False)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--host", "0.0.0.0"], "Or let everybody in: --open"),
        (["--host", "0.0.0.0", "--open"], "a proxy in front ends TLS or the network is your own: --plain"),
        (["--tls-cert", "cert.pem"], "--tls-key"),
        (["--json"], "--check"),
        (
            ["--host", "0.0.0.0", "--plain", "--keys", "none.sqlite"],
            "smallworks keys add NAME --file none.sqlite",
        ),
        (["--keys", "keys.sqlite", "--open"], "Leave out one of --keys and --open"),
        (["--queue", "-1"], "--queue 256"),
        (["--queue-tokens", "0"], "--queue-tokens"),
        (["--deadline", "0"], "--deadline 600"),
    ],
)
def test_what_would_be_open_or_useless_exits_with_2(
    capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    assert run(["serve", "no-bundle", "--port", "0", *arguments]) == 2
    said = capsys.readouterr().err
    assert words in said and "no-bundle" not in said


def test_the_second_word_lets_it_go_on_to_the_bundle(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["serve", "no-bundle", "--port", "0", "--host", "0.0.0.0", "--open", "--plain"]) == 2
    assert "no-bundle" in capsys.readouterr().err


def test_keys_come_from_the_environment_unless_the_door_is_open(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(command, "run", lambda config: seen.append(config.keys))
    monkeypatch.setenv("SMALLWORKS_KEYS", "of-all.sqlite")
    for arguments in ([], ["--open"], ["--keys", "own.sqlite"]):
        assert run(["serve", "b", *arguments]) == 0
    assert seen == [Path("of-all.sqlite"), None, Path("own.sqlite")]
