"""One model on one machine: the format that fits, how it can be tuned, and every reason against it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from smallworks.select import Catalogue, Entry, Fit, Machine, Needs, Ruled
from smallworks.select.fit import judge


@pytest.fixture
def judged(
    catalogue: Catalogue, laptop: Machine, needs_of: Callable[..., Needs]
) -> Callable[..., Fit | Ruled]:
    def judge_it(hub: str, *, machine: Machine = laptop, **changes: Any) -> Fit | Ruled:
        entry = next(entry for entry in catalogue.entries if entry.hub == hub)
        return judge(entry, needs_of(**changes), machine, catalogue, convertible=("llama", "qwen2", "qwen3"))

    return judge_it


@pytest.mark.parametrize(
    ("hub", "changes", "reason"),
    [
        ("Qwen/Qwen2.5-3B-Instruct", {"use": ("commercial",)}, "licence: Qwen Research License"),
        ("Qwen/Qwen2.5-3B-Instruct", {"use": ("redistribute",)}, "licence: Qwen Research License"),
        ("HuggingFaceTB/SmolLM2-135M-Instruct", {"languages": ("de",)}, "languages: .* de"),
        ("Qwen/Qwen3-0.6B", {"languages": ("code",)}, "languages: .* code"),
        ("allenai/OLMo-2-0425-1B-Instruct", {"longest": 5000}, "context: 4,096 tokens, 5,000"),
        ("BAAI/bge-small-en-v1.5", {"tokens_in": 600}, "context: 512 tokens, 600"),
        ("BAAI/bge-small-en-v1.5", {"kind": "extract"}, "encoder: it reads and does not write"),
        ("Qwen/Qwen2.5-14B-Instruct", {}, r"memory: 9\.\d GB as q4_0, 8\.0 GB are free"),
        ("Qwen/Qwen3-4B", {"latency_ms": 500.0}, "latency: about .* 500 ms are allowed"),
        ("Qwen/Qwen3-4B", {"volume": 100_000.0}, "volume: .* hours of answering a day"),
        ("Qwen/Qwen3-4B", {"volume": 1000.0, "budget": 0.5}, r"budget: \$.* a month, \$0\.50"),
    ],
)
def test_each_constraint_rules_out_with_its_numbers(
    judged: Callable[..., Fit | Ruled], hub: str, changes: dict[str, Any], reason: str
) -> None:
    found = judged(hub, **changes)
    assert isinstance(found, Ruled)
    assert any(re.match(reason, said) for said in found.reasons), found.reasons


def test_every_reason_is_told_not_only_the_first(judged: Callable[..., Fit | Ruled]) -> None:
    found = judged("Qwen/Qwen2.5-3B-Instruct", use=("commercial",), languages=("sw",), longest=40_000)
    assert isinstance(found, Ruled)
    assert [reason.partition(":")[0] for reason in found.reasons] == ["licence", "languages", "context"]


def test_the_widest_format_that_fits_is_taken(judged: Callable[..., Fit | Ruled], laptop: Machine) -> None:
    wide, narrow = judged("Qwen/Qwen3-8B", machine=replace(laptop, memory=10**10)), judged("Qwen/Qwen3-8B")
    assert isinstance(wide, Fit) and isinstance(narrow, Fit)
    assert (wide.form, narrow.form) == ("q8_0", "q4_0")
    assert narrow.memory <= laptop.memory < wide.memory


def test_lora_where_it_fits_then_qlora_then_nothing(
    judged: Callable[..., Fit | Ruled], laptop: Machine
) -> None:
    slow = replace(laptop, speed=None)
    tuned = [
        judged("Qwen/Qwen3-1.7B", machine=replace(slow, memory=memory))
        for memory in (8 * 10**9, 4 * 10**9, 3 * 10**9)
    ]
    assert [fit.tuning for fit in tuned if isinstance(fit, Fit)] == ["lora", "qlora", None]


def test_a_tuning_of_days_is_no_tuning(judged: Callable[..., Fit | Ruled]) -> None:
    few, many = judged("Qwen/Qwen3-0.6B", rows=300), judged("Qwen/Qwen3-0.6B", rows=100_000)
    assert isinstance(few, Fit) and isinstance(many, Fit)
    assert (few.tuning, few.whole, many.tuning, many.whole) == ("lora", True, None, False)


def test_a_machine_that_was_not_measured_has_no_times(
    judged: Callable[..., Fit | Ruled], laptop: Machine
) -> None:
    found = judged("Qwen/Qwen3-0.6B", machine=replace(laptop, speed=None), latency_ms=1.0, volume=1e9)
    assert isinstance(found, Fit) and found.request_ms is None and found.month is None


def test_a_mixture_writes_faster_than_its_size_says(judged: Callable[..., Fit | Ruled]) -> None:
    mixture, dense = judged("ibm-granite/granite-3.1-3b-a800m-instruct"), judged("HuggingFaceTB/SmolLM3-3B")
    assert isinstance(mixture, Fit) and isinstance(dense, Fit)
    assert mixture.memory > dense.memory * 0.9
    assert (mixture.tokens_per_second or 0) > 2 * (dense.tokens_per_second or 0)


def test_all_entries_have_a_verdict(
    catalogue: Catalogue, laptop: Machine, needs_of: Callable[..., Needs]
) -> None:
    entries: tuple[Entry, ...] = catalogue.entries
    found = [judge(entry, needs_of(), laptop, catalogue, convertible=()) for entry in entries]
    assert all(isinstance(one, Fit) or one.reasons for one in found)
