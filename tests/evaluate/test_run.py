"""A run puts every example to what answers, in order and in batches, and scores what came."""

import time
from collections.abc import Sequence

import pytest

from smallworks.evaluate.run import WARM_UPS, run, scorecard, time_rows
from smallworks.types import Answer, Example, ExampleId


def examples(n: int) -> list[Example]:
    return [
        Example(id=ExampleId(f"e{i}"), inputs={"input": f"text {i}"}, output="bug" if i % 2 else "feature")
        for i in range(n)
    ]


def always_bug(rows: Sequence[Example]) -> list[Answer]:
    return [Answer(text="bug", tokens_in=4, tokens_out=1, ms=0.1, probabilities={"bug": 0.8}) for _ in rows]


def test_every_example_gets_a_record_in_order() -> None:
    sizes: list[int] = []
    seen: list[float] = []

    def answer(rows: Sequence[Example]) -> list[Answer]:
        sizes.append(len(rows))
        return always_bug(rows)

    records = run(
        examples(10),
        answer,
        kind="classify",
        labels=("bug", "feature"),
        batch=4,
        prompt_hash=lambda example: f"hash of {example.id}",
        progress=lambda step, done, total, note: seen.append(done / total),
    )
    assert [r.example_id for r in records] == [f"e{i}" for i in range(10)]
    assert (sizes, seen) == ([4, 4, 2], [0.4, 0.8, 1.0])
    assert [r.scores["accuracy"] for r in records[:2]] == [0.0, 1.0]
    assert records[3].prompt_hash == "hash of e3"


def test_an_answer_too_few_is_noticed() -> None:
    with pytest.raises(ValueError, match="shorter"):
        run(examples(3), lambda rows: always_bug(rows)[:-1], kind="classify", labels=("bug",))


def test_rows_are_timed_one_by_one_after_warm_ups_on_others() -> None:
    asked: list[str] = []

    def answer(example: Example) -> None:
        asked.append(example.id)
        time.sleep(0.001)

    ms = time_rows(examples(20), answer, limit=5)
    assert asked[WARM_UPS:] == ["e0", "e4", "e8", "e12", "e16"]
    assert not set(asked[:WARM_UPS]) & set(asked[WARM_UPS:])
    assert len(ms) == 5 and min(ms) >= 1.0


def test_few_rows_are_all_timed() -> None:
    assert len(time_rows(examples(2), lambda example: None)) == 2


def test_the_scorecard_holds_metrics_latency_memory_and_classes() -> None:
    records = run(examples(10), always_bug, kind="classify", labels=("bug", "feature"))
    card = scorecard(records, [1.0, 2.0], kind="classify", seconds=0.5, peak_memory_bytes=10**8)
    assert card.metrics["accuracy"].value == 0.5
    assert (card.latency.p50, card.latency.rows_per_second) == (1.0, 20.0)
    assert (card.tokens_in, card.tokens_out, card.peak_memory_bytes) == (4, 1, 10**8)
    assert card.per_class["bug"] == {
        "precision": 0.5,
        "recall": 1.0,
        "f1": pytest.approx(2 / 3),
        "support": 5,
    }
