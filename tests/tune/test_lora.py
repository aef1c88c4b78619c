"""Tuning end to end in its child process: learning, the same bytes twice, a kill and a resume."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from smallworks.engines.transformers import Transformers
from smallworks.errors import DataError
from smallworks.tune import TuneRequest, TuneResult, fit
from smallworks.types import Choices, Prompt

from .conftest import Ask

pytest.importorskip("trl")

# A fit in a process of its own, so that it can be killed together with its child.
FIT = """
import pickle, sys
from pathlib import Path
from smallworks.tune import fit
fit(pickle.loads(Path(sys.argv[1]).read_bytes()))
"""


@pytest.fixture(scope="session")
def undisturbed(base: Path, tmp_path_factory: pytest.TempPathFactory) -> TuneResult:
    from .conftest import OPTIONS, rows

    out = tmp_path_factory.mktemp("undisturbed") / "out"
    return fit(TuneRequest(base=base, out=out, train=rows(40, 1), validation=rows(8, 2), options=OPTIONS))


def test_faults_are_refused_before_anything_is_written(ask: Ask) -> None:
    request = ask()
    with pytest.raises(DataError):
        fit(replace(request, validation=request.train[:3]))
    assert not request.out.exists()


@pytest.mark.slow
def test_a_tuning_gives_an_adapter_and_says_what_it_took(undisturbed: TuneResult) -> None:
    files = sorted(file.name for file in undisturbed.adapter.iterdir())
    assert files == ["adapter_config.json", "adapter_model.safetensors"]
    assert undisturbed.steps == 20 and undisturbed.supervised_tokens == 80
    assert [point.step for point in undisturbed.curve] == [5, 10, 15, 20]
    assert undisturbed.best_val_loss == min(point.val_loss for point in undisturbed.curve if point.val_loss)
    assert undisturbed.peak_memory_bytes > 2e8 and undisturbed.tokens_per_second > 0
    assert not undisturbed.resumed and not undisturbed.stopped_early
    config = json.loads((undisturbed.adapter / "adapter_config.json").read_text())
    assert "/" not in config["base_model_name_or_path"]


@pytest.mark.slow
def test_the_adapter_loads_and_changes_the_answers(base: Path, undisturbed: TuneResult, ask: Ask) -> None:
    choices = Choices(labels=("even", "odd"), codes=("A", "B"), ids=(36, 37))
    prompts = [Prompt(text="", ids=row.ids[:-2]) for row in ask().validation]
    before, after = Transformers(base, threads=1), Transformers(base, adapter=undisturbed.adapter, threads=1)
    assert np.abs(before.score(prompts, choices) - after.score(prompts, choices)).max() > 0.01


@pytest.mark.slow
def test_a_finished_folder_is_returned_untouched(undisturbed: TuneResult, base: Path) -> None:
    from .conftest import OPTIONS, rows

    out = undisturbed.adapter.parent
    written = out.stat().st_mtime_ns
    again = fit(TuneRequest(base=base, out=out, train=rows(40, 1), validation=rows(8, 2), options=OPTIONS))
    assert again == undisturbed and out.stat().st_mtime_ns == written


def run(request: TuneRequest, folder: Path) -> subprocess.Popen[bytes]:
    import pickle

    pickled = folder / "request.pickle"
    pickled.write_bytes(pickle.dumps(request))
    return subprocess.Popen(
        [sys.executable, "-c", FIT, str(pickled)], start_new_session=True, stderr=subprocess.DEVNULL
    )


def wait_for(marker: Path, process: subprocess.Popen[bytes]) -> None:
    while not marker.exists():
        assert process.poll() is None, "the tuning ended before it was killed"
        time.sleep(0.005)


@pytest.mark.slow
def test_interrupted_and_then_killed_a_tuning_still_ends_with_the_same_bytes(
    ask: Ask, undisturbed: TuneResult, tmp_path: Path
) -> None:
    import psutil

    request = ask()
    checkpoints = request.out / "checkpoints"
    process = run(request, tmp_path)
    wait_for(checkpoints / "checkpoint-5" / "complete", process)
    (child,) = psutil.Process(process.pid).children()
    child.send_signal(signal.SIGINT)
    assert process.wait(timeout=120) == 1
    saved = {int(path.parent.name.split("-")[1]) for path in checkpoints.glob("*/complete")}
    assert 5 <= max(saved) < 15, "the interrupt came too late to test anything"

    process = run(request, tmp_path)
    wait_for(checkpoints / "checkpoint-15" / "complete", process)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (request.out / "result.json").exists()
    (checkpoints / "checkpoint-99").mkdir()  # half-written: it has no marker

    result = fit(request)
    assert result.resumed and not checkpoints.exists()
    assert result.adapter_sha256 == undisturbed.adapter_sha256
    assert [point.val_loss for point in result.curve] == [point.val_loss for point in undisturbed.curve]


@pytest.mark.slow
def test_patience_stops_a_tuning_that_only_overfits(ask: Ask) -> None:
    result = fit(ask(train=8, learning_rate=5e-2, epochs=30, patience=2))
    assert result.stopped_early and result.steps < 60
    assert result.best_step < result.steps


@pytest.mark.slow
def test_another_request_in_the_same_folder_starts_afresh(ask: Ask, undisturbed: TuneResult) -> None:
    request = ask(seed=1, validation=0)
    half = request.out / "checkpoints" / "checkpoint-5"
    half.mkdir(parents=True)
    (half / "complete").touch()
    (request.out / "key.txt").write_text("the key of another request")
    result = fit(request)
    assert not result.resumed and result.adapter_sha256 != undisturbed.adapter_sha256
    assert result.best_val_loss is None and result.best_step == result.steps == 20
