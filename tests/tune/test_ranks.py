"""Two processes with half of each batch tune what one tunes with the whole of it."""

from __future__ import annotations

import signal
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
from safetensors import safe_open

from smallworks import child
from smallworks.errors import UserError
from smallworks.seams import silent
from smallworks.tune import TuneResult, fit
from smallworks.tune.order import Order

from .conftest import Ask, Here

ROWS = 42
"""In batches of 4 the last one of each epoch is half as long as the others."""


@pytest.mark.slow
def test_the_weights_are_those_of_one_process(ask: Ask, here: Here) -> None:
    together = fit(ask(train=ROWS, processes=2, codes=(36, 37)))
    with here():
        alone = fit(ask(out="alone", train=ROWS, codes=(36, 37)))
    mine, theirs = tensors(alone), tensors(together)
    assert mine.keys() == theirs.keys() and together.steps == alone.steps == 22
    worst = max(np.abs(mine[name] - theirs[name]).max() for name in mine)
    assert worst < 1e-4 * max(np.abs(tensor).max() for tensor in mine.values())
    for one, two in zip(alone.curve, together.curve, strict=True):
        assert two.train_loss == pytest.approx(one.train_loss, abs=1e-4)
        assert two.val_loss == pytest.approx(one.val_loss, abs=1e-5)
        assert two.label_loss == pytest.approx(one.label_loss, abs=1e-5)
    assert alone.key != together.key, "sums in another order are other bytes"


@pytest.mark.parametrize("others", [0, 1])
def test_an_interrupt_that_one_process_hears_ends_all_on_the_same_step(
    others: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("trl")
    from smallworks.tune import ranks, worker

    monkeypatch.setattr(signal, "signal", lambda number, handler: None)
    monkeypatch.setattr(ranks, "total", lambda numbers, device: [numbers[0] + 30, numbers[1] + others])
    watch = worker.Watch(silent, 0, tmp_path)
    watch.count(12)
    state, control = SimpleNamespace(global_step=3, max_steps=9), SimpleNamespace(should_save=False)
    watch.on_step_begin(None, state, control)
    watch.on_step_end(SimpleNamespace(device="cpu", eval_strategy="no"), state, control)
    assert watch.interrupted is control.should_save is bool(others)
    assert watch._tokens == 42


def tensors(result: TuneResult) -> dict[str, np.ndarray]:
    with safe_open(result.weights / "adapter_model.safetensors", "numpy") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


@pytest.mark.parametrize("processes", [0, 3])
def test_a_batch_that_cannot_be_shared_evenly_is_refused(ask: Ask, processes: int) -> None:
    with pytest.raises(UserError, match=f"4 rows cannot be shared by {processes} processes") as refused:
        fit(ask(processes=processes))
    assert "one of: 1, 2, 4" in refused.value.fix and not ask().out.exists()


def test_a_short_last_batch_is_filled_with_what_teaches_nothing() -> None:
    order = Order([5] * 10, batch_size=4, seed=0, blank=10)
    rows = list(order)
    assert len(rows) == len(order) == 12 and rows[-2:] == [10, 10]
    assert rows[:-2] == list(Order([5] * 10, batch_size=4, seed=0))
    assert sorted(Order([5] * 8, batch_size=4, seed=0, blank=8)) == list(range(8))


def test_processes_meet_in_a_file_and_listen_to_this_machine_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("torch")
    from smallworks.tune import ranks

    for name, value in child._loopback().items():
        monkeypatch.setenv(name, value)
    before = listening()
    ranks.begin(1, str(tmp_path / "meeting"))
    try:
        assert ranks.total([3.0], "cpu") == [3.0]
        assert {ip for ip, _ in listening() - before} <= {"127.0.0.1", "::1"}
    finally:
        ranks.leave()


def listening() -> set[tuple[str, int]]:
    open_now = psutil.Process().net_connections("inet")
    return {tuple(one.laddr) for one in open_now if one.status == psutil.CONN_LISTEN}
