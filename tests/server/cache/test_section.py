"""[cache] of serve.toml: what it takes, what it refuses, and that a server made from it keeps answers."""

from __future__ import annotations

from pathlib import Path

import pytest

from smallworks.errors import UserError
from smallworks.server.config import load


def written(folder: Path, text: str) -> Path:
    path = folder / "serve.toml"
    path.write_text(f'bundles = ["b"]\n{text}\n', encoding="utf-8")
    return path


def test_an_empty_section_is_a_cache_in_memory(tmp_path: Path) -> None:
    cache = load(written(tmp_path, "[cache]")).cache
    assert cache is not None
    assert cache.store == "memory"
    assert cache.check().startswith("memory, 10,000 answers")


def test_without_the_section_there_is_none(tmp_path: Path) -> None:
    assert load(written(tmp_path, "")).cache is None


def test_a_file_stands_beside_the_config(tmp_path: Path) -> None:
    cache = load(written(tmp_path, '[cache]\nstore = "sqlite"\npath = "cache.sqlite"')).cache
    assert cache is not None
    assert cache.path == tmp_path / "cache.sqlite"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[cache]\nstore = "disk"', "memory"),
        ('[cache]\nstore = "sqlite"', "wants its file"),
        ('[cache]\nstore = "redis"', "wants the variable"),
        ("[cache]\nsharred = true", "shared"),
        ("[cache]\nttl = 0", "ttl"),
        ('[cache.semantic]\nmodels = []\nembedder = "x"', "models"),
        ('[cache.semantic]\nmodels = ["faq"]', "embedder"),
    ],
)
def test_what_cannot_be_is_named(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(UserError) as caught:
        load(written(tmp_path, text))
    assert said in str(caught.value)


def test_a_variable_that_is_not_set_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CACHE_URL", raising=False)
    cache = load(written(tmp_path, '[cache]\nstore = "redis"\nurl_env = "CACHE_URL"')).cache
    assert cache is not None
    with pytest.raises(UserError, match="CACHE_URL"):
        cache.check()
