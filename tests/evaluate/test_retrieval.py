"""Retrieval metrics by their definitions, and nDCG as scikit-learn computes it."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from smallworks.evaluate.retrieval import found, gain, measured, ndcg_at, recall_at, reciprocal_rank
from smallworks.evaluate.run import record
from smallworks.types import Answer, Example, ExampleId, Source


def test_recall_is_the_share_of_the_relevant_among_the_first() -> None:
    assert recall_at(2, ["a", "b", "c"], {"b", "c"}) == 0.5
    assert recall_at(3, ["a", "b", "c"], {"b", "c"}) == 1.0


def test_the_reciprocal_rank_is_that_of_the_first_relevant() -> None:
    assert reciprocal_rank(10, ["a", "b", "c"], {"c", "b"}) == 0.5
    assert reciprocal_rank(1, ["a", "b"], {"b"}) == 0.0


def test_ndcg_discounts_by_place() -> None:
    assert ndcg_at(10, ["a", "b", "c"], {"b"}) == pytest.approx(1 / math.log2(3))
    assert ndcg_at(10, ["a", "b"], {"a", "b"}) == 1.0


def test_ndcg_agrees_with_a_reference() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    random = np.random.default_rng(1)
    for _ in range(20):
        relevant = random.random(30) < 0.2
        relevant[0] = True
        scores = random.permutation(30).astype(float)
        ranking = list(np.argsort(-scores))
        reference = metrics.ndcg_score([relevant.astype(float)], [scores], k=10)
        assert ndcg_at(10, ranking, set(np.flatnonzero(relevant))) == pytest.approx(reference)


def test_means_come_with_intervals() -> None:
    means = measured([["a", "b"], ["b", "a"], ["c", "d"]], [{"a"}, {"a"}, {"a"}])
    assert set(means) == {"recall@1", "recall@5", "recall@10", "mrr@10", "ndcg@10"}
    assert means["recall@5"].value == pytest.approx(2 / 3) and means["recall@1"].value == pytest.approx(1 / 3)
    assert means["mrr@10"].value == pytest.approx(0.5)
    assert all(0 <= one.low <= one.value <= one.high <= 1 for one in means.values())


def test_a_row_is_scored_by_the_documents_of_its_passages() -> None:
    sources = [Source(document=name, path=name, text="We open at nine.") for name in ("a", "a", "b")]
    assert found(sources, ("b",)) == {
        "recall@k": 1.0,
        "mrr@k": 0.5,
        "ndcg@k": pytest.approx(1 / math.log2(3)),
    }
    assert found([], ("b",)) == {"recall@k": 0.0, "mrr@k": 0.0, "ndcg@k": 0.0}
    assert found(sources, ()) == {} and found(None, ("b",)) == {}


def test_an_answer_from_documents_rests_on_its_sources_and_not_on_the_question() -> None:
    asked = Example(id=ExampleId("1"), inputs={"question": "Nine?"}, output="nine", documents=("a",))
    said = Answer(text="nine", tokens_in=0, tokens_out=0, ms=0)
    grounded = replace(said, sources=(Source(document="a", path="a", text="We open at nine."),))
    scores = [record(asked, one, kind="answer", documents=True).scores for one in (said, grounded)]
    assert "supported" not in scores[0] and "recall@k" not in scores[0]
    assert (scores[1]["supported"], scores[1]["recall@k"]) == (1.0, 1.0)


def test_few_questions_show_no_gain() -> None:
    for few in (1, 2, 19):
        told = gain([0.0] * few, [0.5] * few)
        assert (told.value, told.low, told.high, told.n) == (0.5, -1.0, 1.0, few)
    assert gain([0.0] * 20, [0.5] * 20).low > 0
