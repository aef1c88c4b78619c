"""Fitting the linear candidates: scikit-learn's own margins, calibrated on rows that the fit did not see."""

from __future__ import annotations

import numpy as np
import pytest

from smallworks.engines.calibration import apply
from smallworks.engines.linear import Linear, log_softmax
from smallworks.errors import DataError
from smallworks.tune import linear
from smallworks.tune.linear import C_LINEAR, fit_linear, majority
from smallworks.types import Choices, Prompt

pytest.importorskip("sklearn")

WORDS = {
    "bug": ["crash", "broken", "error", "fails", "freezes"],
    "feature": ["please", "add", "support", "would", "wish"],
    "question": ["how", "where", "what", "can", "does"],
}


def tickets(rows: int, labels: list[str], *, noise: float = 0.3) -> tuple[list[str], list[str]]:
    """Texts of a few telling words among telling words of other labels."""
    random = np.random.default_rng(0)
    every = [word for words in WORDS.values() for word in words]
    targets = [labels[i % len(labels)] for i in range(rows)]
    return [
        " ".join(random.choice(every if random.random() < noise else WORDS[label]) for _ in range(6))
        for label in targets
    ], targets


@pytest.mark.parametrize("labels", [["bug", "feature", "question"], ["bug", "feature"]])
def test_margins_are_those_of_scikit_learn(labels: list[str]) -> None:
    from scipy.sparse import hstack
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.svm import LinearSVC

    texts, targets = tickets(120, labels)
    word = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    char = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), min_df=2, sublinear_tf=True)
    features = hstack([word.fit_transform(texts), char.fit_transform(texts)]).tocsr()
    oracle = LinearSVC(C=C_LINEAR, random_state=0).fit(features, [labels.index(t) for t in targets])
    expected = oracle.decision_function(features)
    if len(labels) == 2:
        expected = np.stack([-expected, expected], axis=1)
    head = fit_linear(texts, targets, labels=labels).head
    assert np.stack([head.margins(text) for text in texts]) == pytest.approx(expected, abs=1e-3)


def test_it_learns_and_its_probabilities_sum_to_one() -> None:
    texts, targets = tickets(150, list(WORDS))
    fit = fit_linear(texts[:120], targets[:120], labels=list(WORDS))
    raw = Linear(fit.head).score([Prompt(text=t) for t in texts[120:]], Choices(labels=tuple(WORDS)))
    probabilities = np.exp(apply(raw, temperature=fit.temperature, isotonic=fit.isotonic))
    assert probabilities.sum(axis=1) == pytest.approx(1.0)
    assert np.mean([list(WORDS)[i] == t for i, t in zip(raw.argmax(1), targets[120:], strict=True)]) > 0.8


def test_calibrated_confidence_is_about_the_accuracy() -> None:
    texts, targets = tickets(1_200, list(WORDS), noise=0.75)
    fit = fit_linear(texts[:600], targets[:600], labels=list(WORDS))
    margins = log_softmax(np.stack([fit.head.margins(text) for text in texts[600:]]))
    right = margins.argmax(1) == [list(WORDS).index(t) for t in targets[600:]]
    confidence = np.exp(apply(margins, temperature=fit.temperature, isotonic=fit.isotonic)).max(1)
    assert confidence.mean() == pytest.approx(right.mean(), abs=0.06)
    assert fit.held_out == 600


def test_a_label_without_rows_is_possible_to_name_but_never_likely() -> None:
    texts, targets = tickets(60, ["bug", "question"])
    fit = fit_linear(texts, targets, labels=["bug", "feature", "question"])
    margins = np.stack([fit.head.margins(text) for text in texts])
    assert (margins.argmax(1) != 1).all() and np.isfinite(margins).all()


def test_the_only_row_of_a_label_does_not_stop_calibration() -> None:
    texts, targets = tickets(60, ["bug", "question"])
    fit = fit_linear([*texts, "one wish"], [*targets, "feature"], labels=list(WORDS))
    assert fit.held_out == 60 and fit.temperature != 1.0


def test_rows_that_are_too_few_to_hold_out_are_fitted_uncalibrated() -> None:
    fit = fit_linear(["it crashes", "please add it"], ["bug", "feature"], labels=["bug", "feature"])
    assert (fit.held_out, fit.temperature) == (0, 1.0)
    assert fit.head.margins("crashes").argmax() == 0


def test_many_rows_hold_out_a_tenth() -> None:
    texts, targets = tickets(2_100, list(WORDS))
    assert fit_linear(texts, targets, labels=list(WORDS)).held_out == 210


def test_the_same_rows_give_the_same_head() -> None:
    texts, targets = tickets(90, list(WORDS))
    one, other = (fit_linear(texts, targets, labels=list(WORDS), seed=3) for _ in range(2))
    assert (one.temperature, one.isotonic) == (other.temperature, other.isotonic)
    assert all((a == b).all() for a, b in zip(one.head.coefficients, other.head.coefficients, strict=True))


def test_an_embedding_that_knows_the_answer_is_listened_to() -> None:
    texts, targets = tickets(90, list(WORDS), noise=1.0)
    known = np.eye(3, 8)[[list(WORDS).index(t) for t in targets]]
    fit = fit_linear(texts, targets, labels=list(WORDS), embeddings=known)
    margins = np.stack([fit.head.margins(t, e) for t, e in zip(texts, known, strict=True)])
    assert [list(WORDS)[i] for i in margins.argmax(1)] == targets
    assert fit.head.embedded is not None and fit.head.embedded.shape == (8, 3)


def test_one_label_is_no_task() -> None:
    with pytest.raises(DataError, match="'bug'"):
        fit_linear(["a crash", "an error"], ["bug", "bug"], labels=["bug", "feature"])


def test_texts_without_a_single_word_are_refused() -> None:
    with pytest.raises(DataError, match="no word") as caught:
        fit_linear(["?", "!"], ["bug", "feature"], labels=["bug", "feature"])
    assert "[data] input" in caught.value.fix


def test_the_majority_knows_only_how_often_each_label_occurs() -> None:
    head = majority(["bug", "feature", "question"], ["bug"] * 6 + ["feature"] * 1).head
    assert np.exp(log_softmax(head.margins("anything"))) == pytest.approx([0.7, 0.2, 0.1])


def test_a_teachers_certainty_is_the_same_as_a_label() -> None:
    texts, targets = tickets(120, list(WORDS))
    plain = fit_linear(texts, targets, labels=list(WORDS)).head
    certain = [{target: 1.0} for target in targets]
    sure = fit_linear(texts, targets, labels=list(WORDS), shares=certain).head
    assert sure.margins(texts[0]) == pytest.approx(plain.margins(texts[0]), abs=1e-4)


def test_margins_follow_a_teachers_doubts() -> None:
    """The squared hinge with weights p and 1 − p is least at 2p − 1: doubt shows where a label hides it."""
    texts, labels = [f"word{i % 5} common" for i in range(200)], ["a", "b"]
    doubts = [0.55, 0.65, 0.75, 0.85, 0.95]
    shares = [{"a": doubts[i % 5], "b": 1 - doubts[i % 5]} for i in range(200)]
    targets = ["a"] * 199 + ["b"]
    head = fit_linear([*texts, "other"], [*targets, "b"], labels=labels, shares=[*shares, None]).head
    margins = [head.margins(f"word{i} common")[0] for i in range(5)]
    assert margins == sorted(margins) and margins == pytest.approx([2 * p - 1 for p in doubts], abs=0.1)


def test_rows_of_a_teacher_are_fitted_and_never_calibrated_on() -> None:
    texts, targets = tickets(240, list(WORDS))
    own = fit_linear(texts[:120], targets[:120], labels=list(WORDS))
    wrong = [list(WORDS)[(list(WORDS).index(target) + 1) % 3] for target in targets[120:]]
    taught = fit_linear(texts, [*targets[:120], *wrong], labels=list(WORDS), taught=120)
    assert own.held_out == taught.held_out == 120
    assert taught.temperature > own.temperature  # it was misled, and its own rows say so


def test_of_many_rows_the_validation_rows_are_held_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear, "FEW_ROWS", 100)
    words = {"bug": "it crashes on save", "feature": "please add dark mode", "question": "how do I log in"}
    texts = [f"{text} case {n}" for n in range(150) for text in words.values()]
    fit = fit_linear(texts, list(words) * 150, labels=tuple(words), validation=120)
    assert fit.held == tuple(range(330, 450)) and fit.held_out == 120
    assert fit.said is not None and np.exp(fit.said).sum(axis=1) == pytest.approx(np.ones(120))


def test_of_few_rows_every_one_is_held_out_once() -> None:
    words = {"bug": "it crashes on save", "feature": "please add dark mode"}
    texts = [f"{text} case {n}" for n in range(20) for text in words.values()]
    fit = fit_linear(texts, list(words) * 20, labels=tuple(words))
    assert fit.held == tuple(range(40)) and fit.said is not None and fit.said.shape == (40, 2)


def test_rows_out_of_scope_are_answered_by_fits_and_fitted_by_none() -> None:
    texts, targets = tickets(300, list(WORDS), noise=0.1)
    far, known = [f"qwertz {i} zylinder" for i in range(30)], np.zeros((330, 8), np.float32)
    known[:, 7] = 1.0
    plain = fit_linear(texts, targets, labels=list(WORDS), embeddings=known[:300])
    fit = fit_linear(
        texts,
        targets,
        labels=list(WORDS),
        embeddings=known[:300],
        outside=far,
        outside_embeddings=known[300:],
    )
    assert (fit.head.margins(texts[0], known[0]) == plain.head.margins(texts[0], known[0])).all()
    found = fit.scope(0.05, "none")
    assert fit.outside is not None and fit.outside.shape == (30, 3) and fit.outside.any(axis=1).all()
    assert found.scope and min(found.auroc.values()) > 0.9
    assert fit.abstains(found.scope).mean() <= 0.05
    assert plain.scope(0.05, None).scope and fit_linear(texts[:2], ["a", "b"], labels=["a", "b"]).scope(
        0.05, None
    ).why.startswith("0 held-out rows")
