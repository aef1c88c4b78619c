"""Metrics over records, against scikit-learn and sacrebleu."""

import random
import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from smallworks.errors import DataError, TaskError
from smallworks.evaluate.metrics import METRICS, kind_of, metric_of, summarise
from smallworks.types import KINDS, Kind, Record

Make = Callable[..., list[Record]]

LABELS = ("bug", "feature", "question")


def rows(n: int, seed: int = 0) -> list[tuple[str, str]]:
    draw = random.Random(seed)
    expected = [draw.choices(LABELS, weights=(6, 3, 1))[0] for _ in range(n)]
    return [(label, label if draw.random() < 0.8 else draw.choice(LABELS)) for label in expected]


def test_f1_agrees_with_scikit_learn(make: Make) -> None:
    sklearn = pytest.importorskip("sklearn.metrics")
    pairs = rows(200)
    found = summarise(make("classify", pairs), "classify", ["macro_f1", "micro_f1", "accuracy"], resamples=50)
    due, said = zip(*pairs, strict=True)
    assert found["macro_f1"].value == pytest.approx(sklearn.f1_score(due, said, average="macro"))
    assert found["micro_f1"].value == pytest.approx(sklearn.f1_score(due, said, average="micro"))
    assert found["accuracy"].value == pytest.approx(sklearn.accuracy_score(due, said))


def test_answers_that_name_no_label_cost_recall_and_no_precision(make: Make) -> None:
    records = make("classify", [("bug", "bug"), ("bug", "?"), ("feature", "feature"), ("feature", "bug")])
    found = summarise(records, "classify", ["micro_f1", "macro_f1"], resamples=20)
    assert found["micro_f1"].value == pytest.approx(2 * 2 / (3 + 4))
    assert found["macro_f1"].value == pytest.approx((2 / 4 + 2 / 3) / 2)


def test_bleu_agrees_with_sacrebleu(make: Make) -> None:
    sacrebleu = pytest.importorskip("sacrebleu")
    draw = random.Random(3)
    words = ["the", "cat", "sat", "on", "a", "mat", ",", "and", "it", "ran", "."]
    pairs = [tuple(" ".join(draw.choices(words, k=12)) for _ in range(2)) for _ in range(40)]
    found = summarise(make("generate", pairs), "generate", ["bleu"], resamples=100)["bleu"]
    oracle = sacrebleu.corpus_bleu([said for _, said in pairs], [[due for due, _ in pairs]])
    assert found.value == pytest.approx(oracle.score / 100)
    assert found.low < found.value < found.high


def test_field_f1_pools_the_fields_of_all_rows(make: Make) -> None:
    records = make("extract", [('{"a":1,"b":2,"c":3}', '{"a":1,"b":2}'), ('{"a":1}', "no"), ("{}", "{}")])
    found = summarise(records, "extract", ["field_f1", "json_valid"], resamples=20)
    assert found["field_f1"].value == pytest.approx(2 * 2 / (2 + 4))
    assert found["json_valid"].value == pytest.approx(2 / 3)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_metrics_within_0_and_1(kind: str, make: Make) -> None:
    said = {"classify": ("bug", "Bug"), "extract": ('{"a":1}', '{"a":1}')}.get(kind, ("one two", "two"))
    for name, found in summarise(make(kind, [said] * 7), kind, resamples=20).items():  # type: ignore[arg-type]
        assert kind in METRICS[name].kinds
        assert 0 <= found.low <= found.value <= found.high <= 1
        assert found.n == 7


def test_strict_and_lenient_stand_side_by_side(make: Make) -> None:
    found = summarise(make("classify", [("bug", "Bug!")] * 3), "classify", resamples=20)
    assert (found["accuracy"].value, found["accuracy_lenient"].value) == (0.0, 1.0)
    assert (found["macro_f1"].value, found["macro_f1_lenient"].value) == (0.0, 1.0)


def test_the_same_seed_gives_the_same_interval(make: Make) -> None:
    records = make("classify", rows(60))
    first, again = (summarise(records, "classify", ["macro_f1"], seed=4) for _ in range(2))
    assert first == again != summarise(records, "classify", ["macro_f1"], seed=5)


def test_an_unknown_metric_is_answered_with_the_nearest() -> None:
    with pytest.raises(TaskError, match="Did you mean 'accuracy'"):
        metric_of("acuracy", "classify")
    with pytest.raises(TaskError, match="of kind 'classify'"):
        metric_of("rouge_l", "classify")


def test_no_rows_and_foreign_records_are_refused(make: Make) -> None:
    with pytest.raises(DataError, match="no rows"):
        summarise([], "classify")
    with pytest.raises(DataError, match="has no score 'exact_match'"):
        summarise(make("classify", [("bug", "bug")]), "answer", ["exact_match"])


def test_macro_f1_over_77_classes_is_bootstrapped_in_time(make: Make) -> None:
    draw = random.Random(0)
    labels = tuple(f"label {i}" for i in range(77))
    pairs = [
        (labels[i % 77], labels[i % 77] if draw.random() < 0.9 else draw.choice(labels)) for i in range(3080)
    ]
    records: list[Record] = make("classify", pairs, labels)
    start = time.process_time()
    found = summarise(records, "classify", ["macro_f1"], resamples=1000)["macro_f1"]
    assert time.process_time() - start < 30  # about 1 measured: what this guards against is minutes
    assert 0.01 < found.high - found.low < 0.03


@pytest.mark.parametrize("kind", KINDS)
def test_records_tell_their_kind_by_their_scores(kind: Kind, make: Make) -> None:
    said = {"classify": "bug", "extract": "{}"}.get(kind, "one two")
    assert kind_of(make(kind, [(said, said)])) == kind


def test_records_of_no_kind_are_refused(make: Make) -> None:
    foreign = replace(make("classify", [("bug", "bug")])[0], scores={"elo": 1.0})
    with pytest.raises(DataError, match="elo"):
        kind_of([foreign])
