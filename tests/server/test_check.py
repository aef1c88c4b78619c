"""`smallworks serve --check`: every part tried without listening, with the fix, as an exit code."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from smallworks.cli import run
from smallworks.server.keys import KeyFile


def test_what_would_be_served_is_said_with_0(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    KeyFile(bundle.parent / "keys.sqlite", create=True).close()
    file = bundle.parent / "serve.toml"
    file.write_text(f'port = 0\nkeys = "keys.sqlite"\nbundles = ["{bundle.name}"]')
    assert run(["serve", "--config", str(file), "--check", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["ok"] and [part["part"] for part in said["parts"]][:3] == ["address", "keys", "bundle"]
    assert "tickets, classify on fake" in said["parts"][2]["what"]


def test_every_wrong_part_is_said_with_2(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (bundle / "extra.bin").write_bytes(b"x")
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        options = ["--port", str(port), "--tls-cert", "c.pem", "--tls-key", "k.pem", "--keys", "none.sqlite"]
        assert run(["serve", str(bundle), "--check", *options]) == 2
    said = capsys.readouterr().out
    for words in (f"Port {port}", "extra.bin", "There is no file 'c.pem'", "No key file at 'none.sqlite'"):
        assert words in said


def test_names_are_tried(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = bundle.parent / "serve.toml"
    upstream = '[[upstream]]\nmodels = ["{}"]\n[[upstream.server]]\nurl = "http://127.0.0.1:1/v1"\n'
    semantic = '[cache.semantic]\nmodels = ["{}"]\nembedder = "owner/name"\n'
    for words, said in (
        (upstream.format("tickets"), "Two models are called 'tickets'"),
        ('embedders = ["owner/tickets"]', "Two models are called 'tickets'"),
        ('embedders = ["./no-such"]', "No embedding model at './no-such'"),
        (semantic.format("tikets"), "[cache.semantic] names the model 'tikets'"),
    ):
        file.write_text(f'port = 0\nbundles = ["{bundle.name}"]\n{words}')
        assert run(["serve", "--config", str(file), "--check"]) == 2
        assert said in capsys.readouterr().out
    file.write_text(f'port = 0\nbundles = ["{bundle.name}"]\n[prices.tikets]\ninput = 1.0')
    assert run(["serve", "--config", str(file), "--check"]) == 2
    assert "Did you mean 'tickets'?" in capsys.readouterr().out
    file.write_text(f'port = 0\nbundles = ["{bundle.name}"]\n' + semantic.format("tickets"))
    assert run(["serve", "--config", str(file), "--check"]) == 0
