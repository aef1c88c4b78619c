"""The tool for K-quants is called as llama.cpp documents it; where it fails, nothing is written."""

from __future__ import annotations

from pathlib import Path

import pytest

from smallworks.compress import kquants
from smallworks.errors import ModelError


@pytest.fixture
def tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in on the PATH that writes what it was asked for; 'Q2_K' fails."""
    path = tmp_path / "bin" / kquants.TOOL
    path.parent.mkdir()
    path.write_text(
        "#!/bin/sh\n"
        'if [ "$3" = Q2_K ]; then echo "tensor cols not divisible"; exit 1; fi\n'
        'cat "$1" > "$2"; echo " as $3" >> "$2"\n'
    )
    path.chmod(0o755)
    monkeypatch.setenv("PATH", str(path.parent), prepend=":")
    return path


def test_it_reads_the_whole_file_and_names_the_kind(tool: Path, tmp_path: Path) -> None:
    (tmp_path / "f16.gguf").write_text("weights")
    out = kquants.convert(tmp_path / "f16.gguf", tmp_path / "out.gguf", "q4_k_m")
    assert out.read_text() == "weights as Q4_K_M\n"


def test_a_failure_tells_the_tools_last_words_and_leaves_nothing(tool: Path, tmp_path: Path) -> None:
    (tmp_path / "f16.gguf").write_text("weights")
    with pytest.raises(ModelError, match="tensor cols not divisible"):
        kquants.convert(tmp_path / "f16.gguf", tmp_path / "out.gguf", "q2_k")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bin", "f16.gguf"]


def test_without_the_tool_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not kquants.there()
    with pytest.raises(ModelError, match="not on the PATH"):
        kquants.convert(tmp_path / "f16.gguf", tmp_path / "out.gguf", "q4_k_m")
