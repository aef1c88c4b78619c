"""An environment of its own is made only when asked, and what comes out of it is a folder like any other."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from smallworks import settings, starter
from smallworks.compress import llmcompressor, llmcompressor_script
from smallworks.compress.llmcompressor import Kind
from smallworks.engines.shape import companions
from smallworks.engines.transformers import Transformers
from smallworks.errors import ChildError, ModelError, UserError
from smallworks.types import Choices, Prompt

VARIABLE = "SMALLWORKS_LLMCOMPRESSOR"
MINE = settings.load().llmcompressor or llmcompressor.home() / "bin/python"
"""Asked before a test changes the environment."""
STAND_IN = """#!{python}
import json, pathlib, sys
request = json.load(sys.stdin)
out = pathlib.Path(request["out"])
out.mkdir()
for name in ("config.json", "model.safetensors", "recipe.yaml", "tokenizer.json"):
    (out / name).write_text(json.dumps([request, sys.argv[1:]]))
    (out / name).chmod(0o600)
print(json.dumps({{"result": {{}}}} if request["rows"] else {{}}))
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A place of its own for the environment, where nothing is yet."""
    monkeypatch.setenv("SMALLWORKS_HOME", str(tmp_path / "home"))
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.delenv("SMALLWORKS_OFFLINE", raising=False)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    return tmp_path / "home" / "llmcompressor"


@pytest.fixture
def pip(home: Path, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What would be run to make it; nothing is."""
    ran: list[list[str]] = []

    def run(command: Sequence[str], **_: Any) -> subprocess.CompletedProcess[str]:
        ran.append(list(command))
        home.mkdir(parents=True, exist_ok=True)
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", run)
    return ran


def test_without_an_environment_the_refusal_says_how_to_make_one(home: Path) -> None:
    assert not llmcompressor.there()
    with pytest.raises(UserError, match=rf"none at '{home}'.*--install.*{VARIABLE}"):
        llmcompressor.python()


def test_it_is_made_once_with_our_torch_pinned(home: Path, pip: list[list[str]]) -> None:
    python = llmcompressor.install()
    assert python == home / "bin/python" == llmcompressor.python() and llmcompressor.there()
    made, installed = pip
    assert made == [sys.executable, "-m", "venv", str(home)]
    assert installed[0] == str(python) and {llmcompressor.PINNED, llmcompressor._torch()} < set(installed)
    assert llmcompressor.install() == python and len(pip) == 2, "what is there is not made again"
    (home / llmcompressor.READY).write_text('{"llmcompressor": "llmcompressor==0.1"}')
    assert not llmcompressor.there(), "an older release is not what the script was written for"


def test_an_installation_that_fails_is_no_environment(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = subprocess.CompletedProcess([], 1, "", "ERROR: No matching distribution\n\n")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: done)
    with pytest.raises(ModelError, match=rf"No matching distribution.*{VARIABLE}: pip install llmcompressor"):
        llmcompressor.install()
    assert not llmcompressor.there()


def test_nothing_is_installed_offline_or_over_an_environment_of_the_users(
    pip: list[list[str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SMALLWORKS_OFFLINE", "1")
    with pytest.raises(UserError, match="SMALLWORKS_OFFLINE is set"):
        llmcompressor.install()
    monkeypatch.setenv(VARIABLE, str(tmp_path / "absent"))
    with pytest.raises(UserError, match="nothing is to be installed"):
        llmcompressor.install()
    with pytest.raises(UserError, match=r"absent', which is not there"):
        llmcompressor.python()
    assert not pip and not llmcompressor.there()


def test_the_result_is_weights_and_configuration_and_the_words_of_the_model(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a stand-in for the other Python: the plumbing is shown here, the quantising is llmcompressor's."""
    stand_in = tmp_path / "python"
    stand_in.write_text(STAND_IN.format(python=sys.executable))
    stand_in.chmod(0o755)
    monkeypatch.setenv(VARIABLE, str(stand_in))
    out = llmcompressor.convert(starter.MODEL, tmp_path / "out", "gptq", [(1, 2, 3)])
    words = {path.name for path in companions(starter.MODEL)}
    assert {path.name for path in out.iterdir()} == {"config.json", "model.safetensors", *words}
    request, (flag, script) = json.loads((out / "config.json").read_text())
    assert (request["kind"], request["rows"], flag) == ("gptq", [[1, 2, 3]], "-I")
    assert request["folder"] == str(starter.MODEL) and script.endswith("llmcompressor_script.py")
    assert (out / "tokenizer.json").read_bytes() == (starter.MODEL / "tokenizer.json").read_bytes()
    assert (out / "model.safetensors").stat().st_mode & 0o777 == 0o644
    with pytest.raises(ChildError):
        llmcompressor.convert(starter.MODEL, tmp_path / "none", "gptq", [])
    assert not (tmp_path / "none").exists()


def test_widths_that_do_not_fill_a_group_are_refused_for_four_bits(tmp_path: Path) -> None:
    weights = {"model.layers.0.mlp.up_proj.weight": np.zeros((64, 96), np.float32)}
    save_file(weights, tmp_path / "model.safetensors")
    llmcompressor.check(tmp_path, "w8a8")
    kinds: tuple[Kind, ...] = ("gptq", "awq")
    for kind in kinds:
        llmcompressor.check(starter.MODEL, kind)
        with pytest.raises(ModelError, match=rf"columns, which groups of 128 .*cannot be {kind}.*Take w8a8"):
            llmcompressor.check(tmp_path, kind)


@pytest.mark.slow
@pytest.mark.skipif(not MINE.is_file(), reason="llmcompressor has no environment here")
@pytest.mark.skipif(find_spec("compressed_tensors") is None, reason="compressed-tensors is not installed")
@pytest.mark.parametrize(("kind", "far"), [("gptq", 0.4), ("awq", 0.6), ("w8a8", 0.2)])
def test_the_real_forms_answer_near_the_whole_model(
    kind: Kind, far: float, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, str(MINE))
    rows = [list(range(40 + n, 80 + n)) for n in range(8)]
    out = llmcompressor.convert(starter.MODEL, tmp_path / kind, kind, rows)
    labels = Choices(labels=("x", "y", "z"), codes=("A", "B", "C"), ids=(36, 37, 38))
    prompts = [Prompt(text="", ids=tuple(row[:20])) for row in rows[:3]]
    said, whole = (Transformers(folder, threads=1).score(prompts, labels) for folder in (out, starter.MODEL))
    assert 0 < np.abs(said - whole).max() < far


def test_what_may_take_minutes_is_said_before_anything_is_loaded() -> None:
    def said(done: float, total: float, note: str) -> None:
        raise InterruptedError(note)

    with pytest.raises(InterruptedError, match="gptq: calibrating on 2 rows may take minutes"):
        llmcompressor_script.main({"kind": "gptq", "rows": [[1], [2]], "threads": 1}, said)
