"""The loss by which checkpoints are compared, against the engine that will answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from smallworks.engines import calibration
from smallworks.engines.transformers import Transformers
from smallworks.tune import TuneRequest
from smallworks.types import Choices, Prompt

from .conftest import Ask

pytest.importorskip("trl")
CHOICES = Choices(labels=("even", "odd"), codes=("A", "B"), ids=(36, 37))


def test_being_too_sure_costs_nothing_and_being_wrong_does() -> None:
    from smallworks.tune.trainer import label_loss

    random = np.random.default_rng(0)
    logits = random.normal(size=(400, 3))
    right = (logits + random.gumbel(size=logits.shape)).argmax(1)
    ids = np.array([10, 20, 30])[right]

    def loss(scale: float) -> float:
        logp = calibration.apply(scale * logits)
        return label_loss(logp, ids, (10, 20, 30))

    assert loss(1.0) == pytest.approx(loss(8.0), abs=1e-4)
    assert label_loss(np.log(np.full((400, 3), 1 / 3)), ids, (10, 20, 30)) == pytest.approx(np.log(3))
    assert loss(1.0) < loss(0.0) - 0.1


@pytest.mark.slow
def test_the_checkpoint_is_chosen_by_what_the_engine_says_of_the_labels(
    ask: Ask, train: Callable[[TuneRequest], dict[str, Any]]
) -> None:
    request = ask(codes=CHOICES.ids, epochs=3, patience=0, train=24, validation=16, learning_rate=2e-2)
    told = train(request)
    losses = {point["step"]: point["label_loss"] for point in told["curve"]}
    assert told["best_val_loss"] == losses[told["best_step"]] == min(losses.values())
    engine = Transformers(request.base, adapter=request.out / "adapter", threads=1)
    logp = engine.score([Prompt(text="", ids=row.ids[:-2]) for row in request.validation], CHOICES)
    right = np.array([CHOICES.ids.index(row.ids[-2]) for row in request.validation])
    temperature = calibration.fit_temperature(calibration.apply(logp), right)
    settled = calibration.apply(logp, temperature=temperature)
    assert told["best_val_loss"] == pytest.approx(-settled[np.arange(16), right].mean(), abs=1e-4)
