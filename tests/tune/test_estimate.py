"""What a tuning will take, by formula and a short measurement."""

from __future__ import annotations

import pytest

from smallworks.engines import shape
from smallworks.errors import ModelError
from smallworks.tune.estimate import checkpointed, estimate, memory, refuse_if_too_large, seconds

from .conftest import Ask


def test_memory_names_its_parts(ask: Ask) -> None:
    request = ask(rank=8)
    parts, facts = memory(request), shape.read(request.base)
    assert parts.weights == 4 * facts.parameters
    assert parts.trained == 16 * 8 * facts.widths
    assert estimate(request).memory_bytes == parts.total > parts.runtime


def test_full_tuning_keeps_a_gradient_and_two_moments_of_every_weight(ask: Ask) -> None:
    request = ask(method="full")
    parts, facts = memory(request), shape.read(request.base)
    assert parts.weights + parts.trained == 16 * facts.parameters
    assert parts.activations < memory(ask(rank=8)).activations


def test_activations_grow_with_the_batch_and_shrink_with_checkpointing(ask: Ask) -> None:
    small, large = memory(ask(batch_size=4)).activations, memory(ask(batch_size=8)).activations
    assert large == pytest.approx(2 * small, rel=1e-6)
    assert memory(ask(batch_size=8, gradient_checkpointing=True)).activations < large


@pytest.mark.parametrize(("method", "each"), [("lora", 4), ("dora", 4), ("qlora", 0.5156), ("qlora-int8", 1)])
def test_a_quantised_base_takes_less_where_it_is_linear(ask: Ask, method: str, each: float) -> None:
    request = ask(method=method)
    facts = shape.read(request.base)
    assert 0 < facts.linear < facts.parameters
    rest = 4 * (facts.parameters - facts.linear)
    assert memory(request).weights == pytest.approx(rest + each * facts.linear, rel=1e-3)


def test_gradient_checkpointing_is_taken_only_where_it_would_not_fit_without(ask: Ask) -> None:
    request = ask(batch_size=8)
    needed = memory(request).total
    assert checkpointed(request, free=needed).options.gradient_checkpointing is False
    assert checkpointed(request, free=needed - 1).options.gradient_checkpointing is True
    asked = ask(batch_size=8, gradient_checkpointing=False)
    assert checkpointed(asked, free=0) is asked


def test_time_grows_with_the_epochs(ask: Ask) -> None:
    assert seconds(ask(epochs=20)) > seconds(ask(epochs=1)) > 10


def test_gradient_checkpointing_takes_a_third_more_work(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("smallworks.tune.estimate.flops", lambda *_: 1.0)  # nothing else counts
    assert seconds(ask(gradient_checkpointing=True)) == pytest.approx(4 / 3 * seconds(ask()), rel=1e-3)


def test_a_measured_speed_takes_the_place_of_the_formula(ask: Ask) -> None:
    request = ask(epochs=2, evals_per_epoch=2)
    read = 2 * sum(len(row.ids) for row in request.train)
    checked = 4 * sum(len(row.ids) for row in request.validation) / 3
    slow, fast = (seconds(request, tokens_per_second=speed) for speed in (10, 20))
    assert slow - fast == pytest.approx((read + checked) / 20)


def test_more_than_the_free_memory_is_refused_with_the_numbers(ask: Ask) -> None:
    request = ask(batch_size=8)
    refuse_if_too_large(request, free=memory(request).total)
    with pytest.raises(
        ModelError, match=r"takes about \d\.\d\d GB \(weights .*\); 0\.10 GB are free"
    ) as refused:
        refuse_if_too_large(request, free=100_000_000)
    assert "batch_size=4 with accumulation=2" in refused.value.fix
    with pytest.raises(ModelError) as refused:
        refuse_if_too_large(ask(batch_size=1), free=0)
    assert "--method qlora" in refused.value.fix
    with pytest.raises(ModelError) as refused:
        refuse_if_too_large(ask(batch_size=1, gradient_checkpointing=False), free=0)
    assert "--gradient-checkpointing" in refused.value.fix
