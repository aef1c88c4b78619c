"""serve.toml: what it may say, and one sentence with the fix for everything else."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smallworks.errors import UserError
from smallworks.server.config import Config, load


@pytest.fixture()
def file(tmp_path: Path) -> Path:
    return tmp_path / "serve.toml"


def test_without_a_file_all_is_as_usual() -> None:
    assert load(None) == Config()


def test_paths_are_relative_to_the_file_and_other_words_stay(file: Path) -> None:
    (file.parent / "tickets").mkdir()
    file.write_text('keys = "keys.sqlite"\nbundles = ["tickets", "production"]\n[[bundle]]\npath = "tickets"')
    config = load(file)
    assert config.keys == file.parent / "keys.sqlite"
    beside = str(file.parent / "tickets")
    assert [entry.path for entry in config.entries] == [beside, "production", beside]


def test_options_win_over_the_file(file: Path) -> None:
    file.write_text("port = 1\nqueue = 2")
    config = load(file, {"port": 3, "queue": None})
    assert (config.port, config.queue) == (3, 2)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("prot = 3", "unknown key 'prot'. Did you mean 'port'?"),
        ('[tlss]\ncert = "a"', "unknown section 'tlss'. Did you mean 'tls'?"),
        ('[tls]\ncrt = "a"', "[tls] has an unknown key 'crt'. Did you mean 'cert'?"),
        ("[tls]\nport = 3", "[tls] has an unknown key 'port'. It stands at the top of the file"),
        ('[tls]\ncert = "a"', "[tls] lacks the key 'key'. Write, for example: key = "),
        (
            'port = "8000"',
            'port = "8000" cannot be: input should be a valid integer. Write, for example: port = 8000',
        ),
        ("port = 99999", "less than or equal to 65535"),
        ("deadline = nan", "finite number"),
        ("bundles = 'a'", 'Write, for example: bundles = ["bundles/tickets"]'),
        ("tls = 3", "Write [tls] on a line of its own"),
        ("[[bundle]]\npat = 'x'", "[bundle] has an unknown key 'pat'. Did you mean 'path'?"),
        ("port", "not valid TOML"),
        (b"\xff", "byte 1 is not UTF-8"),
    ],
)
def test_what_is_wrong_is_named_with_the_fix(file: Path, text: str | bytes, words: str) -> None:
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UserError) as caught:
        load(file)
    assert words in str(caught.value) and str(file) in str(caught.value)


def test_a_file_that_is_not_there_is_told(file: Path) -> None:
    with pytest.raises(UserError, match="cannot be read: No such file"):
        load(file)


@given(st.text(max_size=60))
def test_any_text_is_taken_or_refused_with_a_sentence(text: str) -> None:
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as folder:
        path = Path(folder) / "serve.toml"
        path.write_text(text, encoding="utf-8", errors="replace", newline="")
        try:
            load(path)
        except UserError as error:
            assert error.fix
            return
        assert not set(tomllib.loads(path.read_text(encoding="utf-8-sig"))) - set(Config.model_fields)
