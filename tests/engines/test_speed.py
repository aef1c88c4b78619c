"""Estimates from bandwidth and multiplication: what they grow with. No time is asserted."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from smallworks import starter
from smallworks.engines import footprint, shape, speed
from smallworks.engines.footprint import Format
from smallworks.engines.shape import Shape
from smallworks.engines.speed import Speed

FAST = Speed(bandwidth=2e10, flops=1e11, threads=2)


def test_this_machine_is_measured_on_the_threads_asked_for() -> None:
    found = speed.Speed(
        bandwidth=speed.copying(1, seconds=0.0),
        flops=speed.product(8, 64, 64, threads=1, seconds=0.0),
        threads=1,
    )
    assert found.bandwidth > 0 and found.flops > 0


def test_fewer_threads_than_numpy_takes_have_their_share(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("smallworks.settings.array_threads", lambda: 4)
    halves = [speed.product(8, 8, 8, threads=n, seconds=0.0, of=lambda _: 1.0) for n in (2, 4, 8)]
    assert halves[1] == halves[2] == 2 * halves[0]


def test_numpy_is_told_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    from smallworks import settings

    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert settings.array_threads() == 3
    monkeypatch.setenv("OMP_NUM_THREADS", "all")
    assert settings.array_threads() == settings.physical_cores()


def test_writing_waits_for_memory_or_arithmetic_and_reading_for_arithmetic() -> None:
    facts = shape.read(starter.MODEL)
    memory, arithmetic = replace(FAST, bandwidth=2e9), replace(FAST, flops=1e10)
    decode = [speed.decode(facts, "f16", s, context=64) for s in (FAST, memory, arithmetic)]
    prefill = [speed.prefill(facts, "f16", s, tokens=256) for s in (FAST, memory, arithmetic)]
    assert decode[0] > max(decode[1:]) and decode[1] != decode[2]
    assert prefill[0] == prefill[1] > prefill[2]


SMOLLM2 = ("135M", 134_515_008, 106_195_968, 30, 576, 1536, 9, 3, 49152)
QWEN2 = ("0.5B", 494_032_768, 357_826_560, 24, 896, 4864, 14, 2, 151936)


@pytest.mark.parametrize(
    ("model", "form", "written", "read"),
    [
        (SMOLLM2, "q8_0", 116, 449),
        (SMOLLM2, "q4_0", 178, 584),
        (QWEN2, "q8_0", 39, 182),
        (QWEN2, "q4_0", 80, 207),
    ],
)
def test_a_quiet_machine_s_record_is_met_within_30_percent(
    model: tuple[Any, ...], form: Format, written: float, read: float
) -> None:
    """Two cores, 29.9 GB/s and 168 GFLOP/s measured beside it, llama.cpp, prompts of 512 tokens."""
    name, parameters, linear, layers, hidden, wide, heads, kv_heads, vocab = model
    facts = Shape(
        architecture=name,
        parameters=parameters,
        bytes=0,
        linear=linear,
        widths=0,
        layers=layers,
        hidden=hidden,
        intermediate=wide,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=64,
        vocab=vocab,
        context=2048,
    )
    there = Speed(bandwidth=29.9e9, flops=168e9, threads=2)
    assert speed.decode(facts, form, there, context=64) == pytest.approx(written, rel=0.3)
    assert speed.prefill(facts, form, there, tokens=512) == pytest.approx(read, rel=0.3)


def test_narrower_weights_longer_contexts_and_idle_experts_show() -> None:
    facts = replace(shape.read(starter.MODEL), layers=1)
    usual = speed.decode(facts, "q8_0", FAST, context=64)
    assert speed.decode(facts, "q4_0", FAST, context=64) > usual
    assert speed.decode(facts, "q8_0", FAST, context=4096) < usual
    assert speed.decode(facts, "q8_0", FAST, context=64, active=facts.parameters // 2) > usual


def test_of_two_tables_one_is_not_read() -> None:
    facts = shape.read(starter.MODEL)
    table = facts.vocab * facts.hidden
    untied = replace(facts, parameters=facts.parameters + table)
    assert footprint.tables(untied) == 2
    assert speed.decode(untied, "f16", FAST, context=1) == pytest.approx(
        speed.decode(facts, "f16", FAST, context=1), rel=1e-3
    )
