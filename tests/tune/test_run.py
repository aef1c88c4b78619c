"""Tuning end to end: learning, the same bytes in a child and here, a kill and a resume."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from safetensors import safe_open

from smallworks.engines import adapter as adapters
from smallworks.engines import shape
from smallworks.engines.transformers import Transformers
from smallworks.errors import DataError, UserError
from smallworks.tune import TuneRequest, TuneResult, fit, rehearse
from smallworks.tune.run import finished
from smallworks.types import Choices, Prompt

from .conftest import Ask, Here

torch = pytest.importorskip("torch")
pytest.importorskip("trl")

CHOICES = Choices(labels=("even", "odd"), codes=("A", "B"), ids=(36, 37))

# A fit in a process of its own, so that it can be killed together with its child.
FIT = """
import pickle, sys
from pathlib import Path
from smallworks.tune import fit
fit(pickle.loads(Path(sys.argv[1]).read_bytes()))
"""


@pytest.fixture
def inside(here: Here) -> Iterator[None]:
    """No child: the test is about what comes of a tuning, not about its process."""
    with here():
        yield


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


def test_one_of_several_launched_processes_is_refused(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UserError, match="WORLD_SIZE is 2") as refused:
        fit(ask())
    assert "--processes 2" in refused.value.fix
    assert not ask().out.exists()


def test_the_result_of_another_request_is_not_read_whatever_its_form(ask: Ask) -> None:
    request = ask()
    request.out.mkdir()
    for old in ({"key": "of another request", "weights": "adapter"}, {"loss": 1}):
        (request.out / "result.json").write_text(json.dumps(old))
        assert finished(request) is None


@pytest.mark.slow
def test_a_tuning_gives_an_adapter_and_says_what_it_took(undisturbed: TuneResult) -> None:
    files = sorted(file.name for file in undisturbed.weights.iterdir())
    assert files == ["adapter_config.json", "adapter_model.safetensors"]
    assert undisturbed.steps == 20 and undisturbed.supervised_tokens == 80
    assert [point.step for point in undisturbed.curve] == [5, 10, 15, 20]
    assert undisturbed.best_val_loss == min(point.val_loss for point in undisturbed.curve if point.val_loss)
    assert undisturbed.peak_memory_bytes > 2e8 and undisturbed.tokens_per_second > 0
    assert not undisturbed.resumed and not undisturbed.stopped_early
    config = json.loads((undisturbed.weights / "adapter_config.json").read_text())
    assert "/" not in config["base_model_name_or_path"]


@pytest.mark.slow
def test_the_adapter_loads_and_changes_the_answers(base: Path, undisturbed: TuneResult, ask: Ask) -> None:
    prompts = [Prompt(text="", ids=row.ids[:-2]) for row in ask().validation]
    before, after = Transformers(base, threads=1), Transformers(base, adapter=undisturbed.weights, threads=1)
    assert np.abs(before.score(prompts, CHOICES) - after.score(prompts, CHOICES)).max() > 0.01


@pytest.mark.slow
def test_a_finished_folder_is_returned_untouched(undisturbed: TuneResult, base: Path) -> None:
    from .conftest import OPTIONS, rows

    out = undisturbed.weights.parent
    written = out.stat().st_mtime_ns
    again = fit(TuneRequest(base=base, out=out, train=rows(40, 1), validation=rows(8, 2), options=OPTIONS))
    assert again == undisturbed and out.stat().st_mtime_ns == written


def run(request: TuneRequest, folder: Path) -> subprocess.Popen[bytes]:
    import pickle

    pickled = folder / "request.pickle"
    pickled.write_bytes(pickle.dumps(request))
    return subprocess.Popen(
        [sys.executable, "-c", FIT, str(pickled)],
        start_new_session=True,
        stderr=subprocess.DEVNULL,
        preexec_fn=lambda: os.nice(10),  # who watches is never slower than who is watched
    )


def interrupt(process: subprocess.Popen[bytes]) -> None:
    """As Ctrl-C does: the training child is told, saves and ends, and its parent says so."""
    import psutil

    (child,) = psutil.Process(process.pid).children()
    child.send_signal(signal.SIGINT)
    assert process.wait(timeout=120) == 1


def wait_for(marker: Path, process: subprocess.Popen[bytes]) -> None:
    while not marker.exists():
        assert process.poll() is None, "the tuning ended before it was killed"
        time.sleep(0.005)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["lora", "full"])
def test_interrupted_and_then_killed_a_tuning_still_ends_with_the_same_bytes(
    ask: Ask, here: Here, method: str, undisturbed: TuneResult, tmp_path: Path
) -> None:
    """A whole model is only killed: what is saved at an interrupt is the same checkpoint."""
    with here():
        calm = undisturbed if method == "lora" else fit(ask(out="calm", method=method))
    request = ask(method=method)
    checkpoints = request.out / "checkpoints"
    process = run(request, tmp_path)
    if method == "lora":
        wait_for(checkpoints / "checkpoint-5" / "complete", process)
        interrupt(process)
        saved = {int(path.parent.name.split("-")[1]) for path in checkpoints.glob("*/complete")}
        assert 5 <= max(saved) < 15, "the interrupt came too late to test anything"
        process = run(request, tmp_path)
    wait_for(checkpoints / "checkpoint-15" / "complete", process)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (request.out / "result.json").exists()
    (checkpoints / "checkpoint-99").mkdir()  # half-written: it has no marker

    with here():
        result = fit(request)
    assert result.resumed and not checkpoints.exists()
    assert result.sha256 == calm.sha256
    assert [point.val_loss for point in result.curve] == [point.val_loss for point in calm.curve]


@pytest.mark.slow
@pytest.mark.usefixtures("inside")
def test_full_tuning_gives_a_whole_model_that_has_learned(base: Path, ask: Ask) -> None:
    request = ask(method="full", epochs=8)
    result = fit(request)
    names = {file.name for file in result.weights.iterdir()}
    assert names >= {"model.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json"}
    assert result.trainable_parameters == shape.read(base).parameters == shape.read(result.weights).parameters
    assert result.curve[-1].train_loss < result.curve[0].train_loss
    before, after = (dict(_tensors(folder)) for folder in (base, result.weights))
    assert before.keys() == after.keys()
    assert all(np.abs(before[name] - after[name]).max() > 0 for name in before)
    score = Transformers(result.weights, threads=1).score([Prompt(text="", ids=(101,))], CHOICES)
    assert score.shape == (1, 2)
    assert fit(request) == result


def _tensors(folder: Path) -> Iterator[tuple[str, np.ndarray]]:
    with safe_open(folder / "model.safetensors", "numpy") as file:
        yield from ((name, file.get_tensor(name)) for name in file.keys())  # noqa: SIM118


@pytest.mark.slow
@pytest.mark.usefixtures("inside")
def test_a_rank_stabilised_adapter_is_trained_and_merged_at_its_own_scale(
    base: Path, ask: Ask, undisturbed: TuneResult
) -> None:
    """At rank 4, alpha 8 scales a LoRA by 2 and a rank-stabilised one by 4: PEFT itself is the judge."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    result = fit(ask(method="rslora", epochs=1))
    assert json.loads((result.weights / "adapter_config.json").read_text())["use_rslora"]
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), result.weights)
    prompt = Prompt(text="", ids=ask().validation[0].ids[:-2])
    logits = model(torch.tensor([prompt.ids])).logits[0, -1, list(CHOICES.ids)]
    theirs = torch.log_softmax(logits.double(), -1).detach().numpy()
    ours = Transformers(base, adapter=result.weights, threads=1).score([prompt], CHOICES)[0]
    assert ours == pytest.approx(theirs, abs=1e-5)
    assert _scale(result) == 2 * _scale(undisturbed) == 4


def _scale(result: TuneResult) -> float:
    return adapters.scale(adapters.configuration(result.weights), "q_proj")


@pytest.mark.slow
@pytest.mark.usefixtures("inside")
@pytest.mark.parametrize("method", ["lora", "full"])
def test_a_rehearsal_tells_the_speed_and_leaves_nothing(ask: Ask, method: str) -> None:
    request = ask(method=method)
    assert rehearse(request, steps=3).tokens_per_second > 0
    assert not request.out.exists()


@pytest.mark.slow
def test_who_hears_the_validations_may_end_the_tuning_which_then_goes_on(
    ask: Ask, here: Here, undisturbed: TuneResult
) -> None:
    heard: list[tuple[int, float]] = []

    def enough(step: int, loss: float) -> None:
        heard.append((step, loss))
        if step == 10:
            raise UserError("Enough.", fix="Go on.")

    with pytest.raises(UserError, match="Enough"):
        fit(ask(), validated=enough)
    assert heard == [(p.step, p.val_loss) for p in undisturbed.curve[:2]]
    with here():
        result = fit(ask(), validated=lambda step, loss: heard.append((step, loss)))
    assert result.sha256 == undisturbed.sha256
    assert {step for step, _ in heard} == {5, 10, 15, 20}


@pytest.mark.slow
@pytest.mark.usefixtures("inside")
def test_patience_stops_a_tuning_that_only_overfits(ask: Ask) -> None:
    result = fit(ask(train=8, learning_rate=5e-2, epochs=30, patience=2))
    assert result.stopped_early and result.steps < 60
    assert result.best_step < result.steps


@pytest.mark.slow
@pytest.mark.usefixtures("inside")
def test_another_request_in_the_same_folder_starts_afresh(ask: Ask, undisturbed: TuneResult) -> None:
    request = ask(seed=1, validation=0)
    half = request.out / "checkpoints" / "checkpoint-5"
    half.mkdir(parents=True)
    (half / "complete").touch()
    (request.out / "key.txt").write_text("the key of another request")
    result = fit(request)
    assert not result.resumed and result.sha256 != undisturbed.sha256
    assert result.best_val_loss is None and result.best_step == result.steps == 20


@pytest.mark.slow
@pytest.mark.usefixtures("inside")
def test_losses_are_written_for_tensorboard_where_they_are_asked_for(
    ask: Ask, monkeypatch: pytest.MonkeyPatch, undisturbed: TuneResult, tmp_path: Path
) -> None:
    """Its writer is stood in for: what is written, where, and that the weights stay the same."""
    written: dict[str, list[tuple[int, float]]] = {}

    class Writer:
        def __init__(self, log_dir: str) -> None:
            assert log_dir == str(tmp_path / "board")

        def add_scalar(self, name: str, value: float, step: int) -> None:
            written.setdefault(name, []).append((step, value))

        def __getattr__(self, name: str) -> object:
            return lambda *_, **__: None

    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", SimpleNamespace(SummaryWriter=Writer))
    monkeypatch.setattr("transformers.integrations.integration_utils.is_tensorboard_available", lambda: True)
    monkeypatch.setattr("smallworks.tune.run.check_board", lambda folder: None)
    result = fit(replace(ask(), tensorboard=tmp_path / "board"))
    assert result.sha256 == undisturbed.sha256
    assert [step for step, _ in written["eval/loss"]] == [5, 10, 15, 20]
    assert written.keys() >= {"train/loss", "train/learning_rate", "train/tokens_per_second"}
    assert written["train/tokens_per_second"][-1][1] > 0


def test_a_board_without_tensorboard_is_refused_with_the_fix(
    ask: Ask, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match="TensorBoard, which is not installed") as refused:
        fit(replace(ask(), tensorboard=tmp_path / "board"))
    assert "pip install tensorboard" in refused.value.fix and not ask().out.exists()
