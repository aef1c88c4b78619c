"""Confidence rises with what passages hold of a question; its curve is fitted as a reference fits it."""

from __future__ import annotations

import numpy as np
import pytest

from smallworks import rag
from smallworks.rag import confidence
from smallworks.rag.confidence import Curve, Signals


def sure(index: rag.Index, question: str) -> float:
    found = confidence.signals(index, question, index.search(question))
    return confidence.curve_of(index).probability(found)


def test_what_is_in_the_documents_is_surer_than_what_is_not(index: rag.Index) -> None:
    there = sure(index, "How many webhooks does Pier include?")
    assert there > 0.5 > sure(index, "How many elephants does Pier feed?") > sure(index, "Who painted it?")


def test_coverage_is_the_weight_of_the_words_that_stand_in_one_passage(index: rag.Index) -> None:
    hits = index.search("lighthouse walrus")
    weights = index.weights(["lighthous", "walrus"])
    assert confidence.signals(index, "lighthouse walrus", hits).coverage == pytest.approx(
        weights["lighthous"] / sum(weights.values())
    )
    assert weights["walrus"] > weights["lighthous"] > index.weights(["plan"])["plan"]


def test_nothing_found_is_nothing_covered(index: rag.Index) -> None:
    assert confidence.signals(index, "???", []) == Signals(coverage=0.0)


def test_the_fit_is_that_of_scikit_learn() -> None:
    linear_model = pytest.importorskip("sklearn.linear_model")
    random = np.random.default_rng(3)
    yes = [Signals(coverage=c, nearness=n) for c, n in random.normal((0.7, 0.6), 0.2, (60, 2))]
    no = [Signals(coverage=c, nearness=n) for c, n in random.normal((0.4, 0.4), 0.2, (60, 2))]
    curve = confidence.fit(yes, no)
    assert curve is not None and curve.questions == 120
    reference = linear_model.LogisticRegression(C=1.0, tol=1e-10, max_iter=1000)
    reference.fit([(one.coverage, one.nearness) for one in yes + no], [1] * 60 + [0] * 60)
    assert (curve.coverage, curve.nearness) == pytest.approx(tuple(reference.coef_[0]), abs=1e-4)
    assert curve.bias == pytest.approx(float(reference.intercept_[0]), abs=1e-4)


def test_both_sorts_weigh_the_same_however_many_they_are() -> None:
    yes, no = [Signals(coverage=0.8)], [Signals(coverage=0.2)]
    even, uneven = confidence.fit(yes * 40, no * 40), confidence.fit(yes * 20, no * 60)
    assert even and uneven
    assert even.probability(Signals(coverage=0.5)) == pytest.approx(0.5)
    assert uneven.probability(Signals(coverage=0.5)) == pytest.approx(0.5)


def test_few_questions_fit_nothing() -> None:
    assert confidence.fit([Signals(coverage=1.0)] * 5, [Signals(coverage=0.0)] * 50) is None


def test_a_fitted_curve_is_kept_for_the_search_that_it_was_fitted_on(index: rag.Index) -> None:
    fitted = Curve(bias=1.0, coverage=0.0, nearness=0.0, threshold=0.5, questions=50)
    for vectors, expected in ((False, fitted), (True, confidence.WORDS)):
        with index.store.writing():
            index.store.note("curve", {"curve": vars(fitted), "vectors": vectors})
        assert confidence.curve_of(index) == expected


def test_the_sentence_that_tells_most_is_found(index: rag.Index) -> None:
    text = "We sell plans. Pier includes five webhooks. Call us."
    assert confidence.telling(index, "How many webhooks are in Pier?", text) == "Pier includes five webhooks."
