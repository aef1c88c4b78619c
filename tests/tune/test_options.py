"""The arithmetic of a tuning: steps, learning rate, and what fixes the weights."""

from __future__ import annotations

from dataclasses import replace

import pytest

from smallworks.tune.options import Method, TuneOptions, rate, usual

from .conftest import Ask


@pytest.mark.parametrize(
    ("rows", "batch", "accumulation", "epochs", "steps"),
    [(40, 8, 1, 3, 15), (41, 8, 1, 3, 18), (41, 8, 4, 1, 2), (1, 8, 1, 0.5, 1), (80, 8, 1, 0.5, 5)],
)
def test_steps(rows: int, batch: int, accumulation: int, epochs: float, steps: int) -> None:
    options = TuneOptions(end_id=2, pad_id=3, batch_size=batch, accumulation=accumulation, epochs=epochs)
    assert options.steps(rows) == steps


@pytest.mark.parametrize(
    ("rows", "batch", "epochs"),
    [(10, 8, 10), (560, 8, 9), (560, 32, 10), (800, 8, 6), (1600, 8, 3), (9003, 32, 3), (100_000, 8, 3)],
)
def test_few_rows_are_passed_over_more_often(rows: int, batch: int, epochs: float) -> None:
    options = TuneOptions(end_id=2, pad_id=3, batch_size=batch)
    assert options.epochs_for(rows) == epochs
    assert options.steps(rows) == epochs * options.steps_per_epoch(rows)
    assert replace(options, epochs=0.5).epochs_for(rows) == 0.5


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


def test_full_tuning_of_a_wide_model_takes_a_tenth_of_the_rate() -> None:
    wide, narrow = {"architecture": "LlamaForCausalLM", "hidden": 576}, {"architecture": "L", "hidden": 256}
    assert rate(**wide, method="full") == pytest.approx(rate(**wide) / 10)
    assert rate(**narrow, method="full") == rate(**narrow, method="rslora") == 6e-4


def test_both_kinds_of_lora_scale_alike_at_the_usual_rank() -> None:
    rank = TuneOptions(end_id=2, pad_id=3).rank
    assert usual("lora", 100)["alpha"] / rank == usual("rslora", 100)["alpha"] / rank**0.5
    assert usual("lora", 100) == usual("dora", 100) == usual("qlora", 100)


@pytest.mark.parametrize(("rows", "batch", "steps"), [(500, 8, 630), (1900, 8, 714), (1920, 32, 600)])
def test_full_tuning_takes_large_batches_only_where_enough_are_left(
    rows: int, batch: int, steps: int
) -> None:
    options = TuneOptions(end_id=2, pad_id=3, method="full", **usual("full", rows))
    assert (options.batch_size, options.steps(rows)) == (batch, steps)


@pytest.mark.parametrize(("rows", "interval"), [(40, 20), (560, 35), (8, 20)])
def test_validations_of_few_rows_are_some_steps_apart(rows: int, interval: int) -> None:
    assert TuneOptions(end_id=2, pad_id=3).interval(rows) == interval


@pytest.mark.parametrize(
    ("rows", "method", "patience"),
    [(8, "lora", 4), (450, "full", 11), (9003, "full", 4), (100_000, "lora", 4)],
)
def test_patience_lasts_half_of_a_long_plan(rows: int, method: Method, patience: int) -> None:
    options = TuneOptions(end_id=2, pad_id=3, method=method, **usual(method, rows))
    assert options.patience_for(rows) == patience
    assert replace(options, patience=2).patience_for(rows) == 2
    assert replace(options, patience=0).patience_for(rows) == 0


def test_the_key_is_that_of_what_fixes_the_adapter(ask: Ask) -> None:
    request = ask()
    assert request.key() == ask(out="elsewhere").key()
    first = replace(request.train[0], supervised=(True,) * len(request.train[0].ids))
    masked = replace(request, train=(first, *request.train[1:]))
    changed = [masked, ask(seed=1), ask(train=39), ask(validation=7), ask(threads=2), ask(rank=5)]
    changed += [ask(method="full"), ask(method="dora"), ask(precision="bfloat16")]
    assert len({request.key(), *(other.key() for other in changed)}) == len(changed) + 1
