"""The arithmetic of a tuning: steps, learning rate, and what fixes the adapter."""

from __future__ import annotations

from dataclasses import replace

import pytest

from smallworks.tune.options import LoraOptions, rate

from .conftest import Ask


@pytest.mark.parametrize(
    ("rows", "batch", "accumulation", "epochs", "steps"),
    [(40, 8, 1, 3, 15), (41, 8, 1, 3, 18), (41, 8, 4, 1, 2), (1, 8, 1, 0.5, 1), (80, 8, 1, 0.5, 5)],
)
def test_steps(rows: int, batch: int, accumulation: int, epochs: float, steps: int) -> None:
    options = LoraOptions(end_id=2, pad_id=3, batch_size=batch, accumulation=accumulation, epochs=epochs)
    assert options.steps(rows) == steps


@pytest.mark.parametrize(
    ("architecture", "hidden", "expected"),
    [
        ("LlamaForCausalLM", 4096, 2.9e-4),
        ("LlamaForCausalLM", 576, 1.3e-3),
        ("LlamaForCausalLM", 256, 6e-4),
        ("LlamaForCausalLM", 32, 6e-4),
        ("Qwen2ForCausalLM", 896, 5.3e-4),
    ],
)
def test_the_rate_falls_with_the_width_and_is_low_for_very_narrow_models(
    architecture: str, hidden: int, expected: float
) -> None:
    assert rate(architecture=architecture, hidden=hidden) == pytest.approx(expected, rel=0.05)


def test_the_key_is_that_of_what_fixes_the_adapter(ask: Ask) -> None:
    request = ask()
    assert request.key() == ask(out="elsewhere").key()
    first = replace(request.train[0], supervised=(True,) * len(request.train[0].ids))
    masked = replace(request, train=(first, *request.train[1:]))
    changed = [masked, ask(seed=1), ask(train=39), ask(validation=7), ask(threads=2), ask(rank=5)]
    assert len({request.key(), *(other.key() for other in changed)}) == len(changed) + 1
